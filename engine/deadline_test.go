package engine_test

import (
	"errors"
	"os"
	"testing"
	"time"
)

// A deadline that was taken back does not fire.
func TestDeadlineThatIsTakenBackDoesNotFire(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		client, server := w.pair()
		client.SetReadDeadline(time.Now().Add(time.Second))
		client.SetReadDeadline(time.Time{})
		answer := make(chan error, 1)
		go func() {
			_, err := client.Read(make([]byte, 1))
			answer <- err
		}()
		time.Sleep(3 * time.Second) // of virtual time
		select {
		case err := <-answer:
			t.Fatalf("Read: %v, deadline exceeded: %t", err, errors.Is(err, os.ErrDeadlineExceeded))
		default:
		}
		if _, err := server.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if err := <-answer; err != nil {
			t.Error(err)
		}
	})
}
