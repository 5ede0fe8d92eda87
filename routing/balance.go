package routing

// Pick gives the backend whose turn it is: each in the order of the file, then the first again. It
// may be called from any goroutine, and takes no lock.
func (r *Route) Pick() *Backend {
	turn := r.turns.Add(1) - 1
	return r.Backends[turn%uint64(len(r.Backends))]
}
