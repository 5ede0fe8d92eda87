package routing

// nextInTurn gives each that can be used in turn, all alike: the first behind the one it gave last. It
// takes no lock.
func (g *group) nextInTurn(v *view) *candidate {
	for {
		begin := g.turn.Load()
		at := int(begin) % len(g.members)
		for n := len(g.members); ; n-- {
			if n == 0 {
				return nil
			}
			if v.usable(&g.members[at]) {
				break
			}
			at = g.behind(at)
		}
		if g.turn.CompareAndSwap(begin, uint32(g.behind(at))) {
			return &g.members[at]
		}
		// Somebody else has it.
	}
}

// behind is the place behind another, the first behind the last.
func (g *group) behind(at int) int {
	if at++; at == len(g.members) {
		return 0
	}
	return at
}

// smooth gives each that can be used as often as its weight says, spread as evenly as can be: a a b a
// c a a for the weights 5, 1, 1. It is nginx's smooth weighted round robin: each round everyone's
// current grows by the weight, the largest is picked and falls back by the sum of the weights. All of
// currents are one state, hence the lock.
func (g *group) smooth(v *view) *candidate {
	g.mu.Lock()
	defer g.mu.Unlock()
	var best *candidate
	var total int64
	for i := range g.members {
		m := &g.members[i]
		if !v.usable(m) {
			continue
		}
		weight := v.weight(m)
		total += weight
		if m.current += weight; best == nil || m.current > best.current {
			best = m
		}
	}
	if best != nil {
		best.current -= total
	}
	return best
}
