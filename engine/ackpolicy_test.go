package engine

import (
	"errors"
	"testing"
	"time"
)

func TestAckPolicyAndItsTimeAgree(t *testing.T) {
	for _, tt := range []struct {
		policy AckPolicy
		delay  time.Duration
		want   AckPolicy // 0: refused
		waits  time.Duration
	}{
		{0, 0, AckClassic, 40 * ms},
		{0, 200 * ms, AckClassic, 200 * ms},
		{0, -1, AckEvery, 0},
		{AckEvery, 0, AckEvery, 0},
		{AckEvery, 200 * ms, AckEvery, 0},
		{AckEvery, -1, AckEvery, 0},
		{AckQuick, 100 * ms, AckQuick, 100 * ms},
		{AckQuick, -1, 0, 0},
		{AckClassic, -1, 0, 0},
		{4, 0, 0, 0},
	} {
		c, err := NewStack(StackConfig{}).Dial(1, us, peer, 1500, ConnConfig{AckPolicy: tt.policy, DelayedAck: tt.delay})
		switch {
		case tt.want == 0:
			if !errors.Is(err, ErrBadConfig) {
				t.Errorf("policy %d with %v: %v, want ErrBadConfig", tt.policy, tt.delay, err)
			}
		case err != nil:
			t.Errorf("policy %d with %v: %v", tt.policy, tt.delay, err)
		case c.cfg.AckPolicy != tt.want || c.Info(1).DelayedAck != tt.waits:
			t.Errorf("policy %d with %v became %d, which waits %v", tt.policy, tt.delay, c.cfg.AckPolicy, c.Info(1).DelayedAck)
		}
	}
}
