package entry

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// Counts is a map from keys to how often each is counted; those that are not
// have no entry.
type Counts[K comparable] struct {
	Map     *ebpf.Map
	counted map[K]int
	written map[K]uint32
	lacking map[string]K // counted once more, by what lacks
}

// ReadCounts makes a map agree with what was counted.
func ReadCounts[K comparable](m *ebpf.Map, counted map[K]int) (*Counts[K], error) {
	c := &Counts[K]{Map: m, counted: counted, written: map[K]uint32{}, lacking: map[string]K{}}
	var key K
	var count uint32
	rows := m.Iterate()
	for rows.Next(&key, &count) {
		c.written[key] = count
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for key := range c.written {
		if err := c.write(key, counted[key]); err != nil {
			return nil, err
		}
	}
	for key, count := range counted {
		if err := c.write(key, count); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Expect writes a key's count as Add will do: a new one may have no room. To
// expect 0 takes an expectation back.
func (c *Counts[K]) Expect(key K, more int) error { return c.write(key, c.counted[key]+more) }

// Add counts a key, or with less than 0 counts it no more.
func (c *Counts[K]) Add(key K, more int) error {
	if c.counted[key] += more; c.counted[key] == 0 {
		delete(c.counted, key)
	}
	return c.write(key, c.counted[key])
}

// Lack counts a key once for somebody who should count it and cannot, until
// LackNone, and takes his expectation back.
func (c *Counts[K]) Lack(who string, key K) error {
	if _, was := c.lacking[who]; was {
		return c.Expect(key, 0)
	}
	c.lacking[who] = key
	return c.Add(key, 1)
}

// LackNone says that he lacks nothing any more.
func (c *Counts[K]) LackNone(who string) error {
	key, was := c.lacking[who]
	if !was {
		return nil
	}
	delete(c.lacking, who)
	return c.Add(key, -1)
}

func (c *Counts[K]) write(key K, count int) error {
	if c.written[key] == uint32(count) {
		return nil
	}
	var err error
	if count == 0 {
		err = Remove(c.Map, key)
	} else {
		err = Put(c.Map, key, uint32(count))
	}
	if err != nil {
		return fmt.Errorf("write the count of %v: %w", key, err)
	}
	c.written[key] = uint32(count)
	if count == 0 {
		delete(c.written, key)
	}
	return nil
}
