package model_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"unsafe"
)

// A snapshot is all memory that can be reached from some pointers. It knows no
// type of the engine: whatever is added there is kept too. What is allocated
// after it was taken is left to the garbage collector, for nothing points there
// once the rest is restored.
//
// Not kept is what functions close over, and package variables that no pointer
// leads to. Values of type error and addresses are taken for immutable.
type snapshot struct {
	blocks []block
	maps   []keptMap
}

// A block is a variable, or the array behind a slice, and what it held.
type block struct {
	at, kept reflect.Value
	array    bool
}

type keptMap struct {
	at     reflect.Value
	keys   []reflect.Value
	values []reflect.Value
}

// snap keeps what can be reached from roots, which are pointers.
func snap(roots ...any) *snapshot {
	s := &snapshot{}
	seen := map[place]bool{}
	for _, root := range roots {
		s.walk(reflect.ValueOf(root), seen)
	}
	s.drop()
	for i := range s.blocks {
		s.blocks[i].keep()
	}
	return s
}

// A place is a variable: two of different types may begin at one address.
type place struct {
	at   unsafe.Pointer
	what reflect.Type
	n    int
}

var (
	errorType = reflect.TypeFor[error]()
	addrType  = reflect.TypeFor[netip.Addr]() // has a pointer to what all the program shares
)

// walk adds what v leads to.
func (s *snapshot) walk(v reflect.Value, seen map[place]bool) {
	if v.Type() == errorType || v.Type() == addrType {
		return
	}
	switch v.Kind() {
	case reflect.Interface:
		if !v.IsNil() {
			s.walk(v.Elem(), seen)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			s.walk(v.Field(i), seen)
		}
	case reflect.Array:
		for i := range v.Len() {
			s.walk(v.Index(i), seen)
		}
	case reflect.Pointer:
		if at := (place{v.UnsafePointer(), v.Type(), 1}); at.at != nil && !seen[at] {
			seen[at] = true
			s.blocks = append(s.blocks, block{at: reflect.NewAt(v.Type().Elem(), at.at).Elem()})
			s.walk(v.Elem(), seen)
		}
	case reflect.Slice:
		s.walkSlice(v, seen)
	case reflect.Map:
		s.walkMap(v, seen)
	case reflect.Chan, reflect.UnsafePointer:
		panic(fmt.Sprintf("a snapshot cannot keep a %v", v.Type()))
	}
}

// walkSlice adds the array behind v up to its capacity, and what that leads to.
func (s *snapshot) walkSlice(v reflect.Value, seen map[place]bool) {
	at := place{v.UnsafePointer(), v.Type(), v.Cap()}
	if at.n == 0 || seen[at] {
		return
	}
	seen[at] = true
	array := reflect.NewAt(reflect.ArrayOf(at.n, v.Type().Elem()), at.at).Elem()
	s.blocks = append(s.blocks, block{at: array.Slice(0, at.n), array: true})
	if v.Type().Elem().Kind() != reflect.Uint8 {
		s.walk(array, seen)
	}
}

// walkMap adds the entries of v, and what they lead to.
func (s *snapshot) walkMap(v reflect.Value, seen map[place]bool) {
	at := place{v.UnsafePointer(), v.Type(), 0}
	if at.at == nil || seen[at] {
		return
	}
	seen[at] = true
	header := at.at
	k := keptMap{at: reflect.NewAt(v.Type(), unsafe.Pointer(&header)).Elem()}
	for entries := k.at.MapRange(); entries.Next(); {
		k.keys, k.values = append(k.keys, entries.Key()), append(k.values, entries.Value())
		s.walk(entries.Key(), seen)
		s.walk(entries.Value(), seen)
	}
	s.maps = append(s.maps, k)
}

// drop leaves out blocks that are part of another.
func (s *snapshot) drop() {
	slices.SortFunc(s.blocks, func(x, y block) int {
		fromX, toX := x.span()
		fromY, toY := y.span()
		return cmp.Or(cmp.Compare(fromX, fromY), cmp.Compare(toY, toX))
	})
	end := uintptr(0)
	s.blocks = slices.DeleteFunc(s.blocks, func(b block) bool {
		_, to := b.span()
		inside := to <= end
		end = max(end, to)
		return inside
	})
}

// span is where b begins and ends.
func (b *block) span() (from, to uintptr) {
	if b.array {
		from = b.at.Pointer()
		return from, from + uintptr(b.at.Len())*b.at.Type().Elem().Size()
	}
	from = b.at.UnsafeAddr()
	return from, from + b.at.Type().Size()
}

func (b *block) keep() {
	if b.array {
		b.kept = reflect.MakeSlice(b.at.Type(), b.at.Len(), b.at.Len())
		reflect.Copy(b.kept, b.at)
		return
	}
	b.kept = reflect.New(b.at.Type()).Elem()
	b.kept.Set(b.at)
}

// restore makes everything what it was.
func (s *snapshot) restore() {
	for i := range s.blocks {
		if b := &s.blocks[i]; b.array {
			reflect.Copy(b.at, b.kept)
		} else {
			b.at.Set(b.kept)
		}
	}
	for i := range s.maps {
		s.maps[i].restore()
	}
}

func (k *keptMap) restore() {
	if len(k.keys) == 0 && k.at.Len() == 0 {
		return
	}
	k.at.Clear()
	for i, key := range k.keys {
		k.at.SetMapIndex(key, k.values[i])
	}
}
