// Package cut divides what is too large for one object of the API server into
// pieces of a size that suits it. Which units stand together depends on nothing
// but their own hashes, so that who edits one unit changes one piece, and who
// adds or removes one at most divides or joins a piece besides.
package cut

import (
	"hash/fnv"
	"strconv"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Unit is what is never divided.
type Unit struct {
	// Group is the hash of what is edited as one: its units stay together as
	// long as they fit into one piece.
	Group uint64
	// Own is the unit's own hash.
	Own  uint64
	Size int // bytes, about
}

// Piece is some of the units that were cut.
type Piece struct {
	// Suffix tells the pieces apart. It is empty where there is one, else "0",
	// "1", "01", …: the beginning of its units' hashes.
	Suffix string
	Units  []int // where they stood, in order
}

// Pieces cuts units into pieces of at most size bytes, unless a single unit has
// more. Of no units there is one piece.
func Pieces(units []Unit, size int) []Piece {
	all := make([]int, len(units))
	for i := range all {
		all[i] = i
	}
	c := cutter{units: units, size: size}
	c.cut(all, "")
	return c.pieces
}

type cutter struct {
	units  []Unit
	size   int
	pieces []Piece
}

// cut divides units that are too many for one piece in two, by the next bit of
// their groups' hashes, or of their own where all are of one group.
func (c *cutter) cut(which []int, suffix string) {
	size, several, bit := 0, false, len(suffix)
	for _, i := range which {
		size += c.units[i].Size
		several = several || c.units[i].Group != c.units[which[0]].Group
	}
	if size <= c.size || len(which) == 1 || bit == 2*64 {
		c.pieces = append(c.pieces, Piece{suffix, which})
		return
	}
	var halves [2][]int
	for _, i := range which {
		by := c.units[i].Group
		if !several {
			by = c.units[i].Own
		}
		half := by >> (63 - bit%64) & 1
		halves[half] = append(halves[half], i)
	}
	for i, half := range halves {
		if len(half) > 0 {
			c.cut(half, suffix+strconv.Itoa(i))
		}
	}
}

// Hash is that of names joined.
func Hash(parts ...string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(model.Join(parts...)))
	sum := h.Sum64()
	return (sum ^ sum>>32) * 0x9e3779b97f4a7c15 // FNV's first bits change little
}
