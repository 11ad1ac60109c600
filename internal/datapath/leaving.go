package datapath

import (
	"fmt"
	"maps"

	"github.com/waggle-mesh/waggle/internal/datapath/entry"
)

// setLeaving is SET_LEAVING of bpf/maps.h.
const setLeaving = 1 << 31

// leavingSlots are the slots of backends that leave their set, which the programs
// tell from their addresses. Of two with one slot the last has it.
func leavingSlots(backends []nodeBackend) map[uint32]nodeBackend {
	slots := map[uint32]nodeBackend{}
	for _, b := range backends {
		a := b.Addr.A
		slots[a[0]^a[1]^a[2]^a[3]^uint32(b.Port)] = b
	}
	return slots
}

// putLeaving has the programs know who leaves a set, beside those who did before.
func (s *services) putLeaving(number uint32, leaving map[uint32]nodeBackend) error {
	if s.leaving[number] == nil && len(leaving) > 0 {
		s.leaving[number] = map[uint32]nodeBackend{}
	}
	for slot, b := range leaving {
		if s.leaving[number][slot] == b {
			continue
		}
		if err := entry.Put(s.node.objects.Backends, nodeSlotKey{Set: number | setLeaving, Slot: slot}, b); err != nil {
			return fmt.Errorf("write backend %s, which leaves set %d: %w", b, number, err)
		}
		s.leaving[number][slot] = b
	}
	return nil
}

// dropLeaving forgets who has left a set, but for those.
func (s *services) dropLeaving(number uint32, but map[uint32]nodeBackend) error {
	for slot, b := range maps.Clone(s.leaving[number]) {
		if but[slot] == b {
			continue
		}
		if err := entry.Remove(s.node.objects.Backends, nodeSlotKey{Set: number | setLeaving, Slot: slot}); err != nil {
			return fmt.Errorf("remove backend %s, which has left set %d: %w", b, number, err)
		}
		delete(s.leaving[number], slot)
	}
	if len(s.leaving[number]) == 0 {
		delete(s.leaving, number)
	}
	return nil
}

// readLeaving finds who was leaving when the agent before ended.
func (s *services) readLeaving() error {
	var key nodeSlotKey
	var b nodeBackend
	rows := s.node.objects.Backends.Iterate()
	for rows.Next(&key, &b) {
		if number := key.Set &^ setLeaving; number != key.Set {
			if s.leaving[number] == nil {
				s.leaving[number] = map[uint32]nodeBackend{}
			}
			s.leaving[number][key.Slot] = b
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read backends that leave their sets: %w", err)
	}
	return nil
}
