package routing

import "math/bits"

// load is how full a backend is: its links for its weight. The link to come is not among them: where
// there are none, as with plain requests, the heaviest would get everything.
type load struct{ links, weight int64 }

func (v *view) load(m *candidate) load {
	return load{m.backend.Links(), v.weight(m)}
}

// under reports whether l is less than other.
func (l load) under(other load) bool {
	return l.links*other.weight < other.links*l.weight
}

// leastConnections gives the least loaded; of several the first behind the one it gave last.
func (g *group) leastConnections(v *view) *candidate {
	for try := 0; ; try++ {
		begin := g.turn.Load()
		at := int(begin) % len(g.members)
		best, least := -1, load{}
		for range len(g.members) {
			if m := &g.members[at]; v.usable(m) {
				if l := v.load(m); best < 0 || l.under(least) {
					best, least = at, l
				}
			}
			at = g.behind(at)
		}
		if best < 0 {
			return nil
		}
		// Who began at the same place has found the same. After some tries, share it.
		if g.turn.CompareAndSwap(begin, uint32(g.behind(best))) || try == 3 {
			return &g.members[best]
		}
	}
}

// randomTwo gives the less loaded of two that are drawn by weight.
func (g *group) randomTwo(v *view, random func() uint64) *candidate {
	usable := 0
	var total int64
	for i := range g.members {
		if m := &g.members[i]; v.usable(m) {
			total += v.weight(m)
			usable++
		}
	}
	if usable == 0 {
		return nil
	}
	first := g.draw(v, random, total, nil)
	if usable == 1 || first == nil {
		return first
	}
	second := g.draw(v, random, total-v.weight(first), first)
	if second != nil && v.load(second).under(v.load(first)) {
		return second
	}
	return first
}

// draw gives one by weight, but not except. total is the sum of the weights.
func (g *group) draw(v *view, random func() uint64, total int64, except *candidate) *candidate {
	at, _ := bits.Mul64(random(), uint64(max(total, 1)))
	left := int64(at)
	var last *candidate
	for i := range g.members {
		m := &g.members[i]
		if m == except || !v.usable(m) {
			continue
		}
		last = m
		if left -= v.weight(m); left < 0 {
			break
		}
	}
	return last // or the last there is, when some have gone meanwhile
}
