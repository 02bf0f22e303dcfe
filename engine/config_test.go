package engine

import (
	"net/netip"
	"reflect"
	"testing"

	"rawtcp/segment"
)

// filled returns settings of which only field i is set, and its name. Each call
// gives values of its own.
func filled(t *testing.T, i int, with int) (ConnConfig, string) {
	t.Helper()
	var c ConnConfig
	v := reflect.ValueOf(&c).Elem()
	name := v.Type().Field(i).Name
	switch f := v.Field(i); f.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int64:
		f.SetInt(int64(with))
	case reflect.Uint8:
		f.SetUint(uint64(with))
	case reflect.Bool:
		f.SetBool(true)
	case reflect.String:
		f.SetString(string(rune('a' + with)))
	case reflect.Slice:
		c.SYNOptions = []segment.Kind{segment.Kind(with)}
	case reflect.Pointer:
		iss := segment.MakeSeq(uint32(with))
		c.ISN = &iss
	case reflect.Func:
		c.Controller = func(mss, _ int) Controller { return nil }
	default:
		t.Fatalf("ConnConfig.%s is of a kind that this test does not know", name)
	}
	return c, name
}

// No setting is forgotten where settings are completed and compared: neither is
// done by reflection, which a Dial would pay for.
func TestEverySettingIsInheritedAndCompared(t *testing.T) {
	for i := range reflect.TypeFor[ConnConfig]().NumField() {
		def, name := filled(t, i, 1)
		if got := (ConnConfig{}).or(def); reflect.ValueOf(got).Field(i).IsZero() {
			t.Errorf("%s is not taken from the defaults", name)
		}
		own, _ := filled(t, i, 2)
		if got := own.or(def); name != "Controller" && !reflect.DeepEqual(got, own) {
			t.Errorf("%s is not kept beside a default: %+v", name, got)
		}
		again, _ := filled(t, i, 1)
		if def.same(&again) != (name != "Controller") { // two functions cannot be compared
			t.Errorf("%s: two that say the same are held for different, or the other way round", name)
		}
		if def.same(&ConnConfig{}) || (&ConnConfig{}).same(&def) {
			t.Errorf("%s is not compared with none", name)
		}
		if reflect.TypeOf(def).Field(i).Type.Kind() != reflect.Bool && def.same(&own) {
			t.Errorf("%s: two values are held for one", name)
		}
	}
	if empty := (ConnConfig{SYNOptions: []segment.Kind{}}); empty.same(&ConnConfig{}) {
		t.Error("no options in the SYN is not the same as those of the default")
	}
}

// BenchmarkDial is the price of a Dial and its SYN.
func BenchmarkDial(b *testing.B) {
	s := NewStack(StackConfig{Conn: ConnConfig{NoDelay: true}})
	var seg segment.Segment
	for i := range b.N {
		c, err := s.Dial(1, netip.AddrPortFrom(us.Addr(), uint16(1024+i%60000)), peer, 1500, ConnConfig{TTL: 9})
		if err != nil {
			b.Fatal(err)
		}
		s.Transmit(1, &seg)
		c.Abandon(1)
	}
}
