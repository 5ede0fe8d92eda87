package sock

// What is asked of a Conn at rest: one that waits for its next request, or to be used again.

// OnReadable has f called once, when there is something to read, an end included, or the Conn is closed:
// at once if that is so already, else by the home, where f must not wait for anything. It takes the place
// of a Read that waits, and of the goroutine that does; nobody may read until f has been called.
func (c *Conn) OnReadable(f func()) error {
	if err := c.Watch(); err != nil {
		return err
	}
	c.alarm.Store(&f)
	if c.events.Load()&(readable|shut) != 0 {
		c.ring()
	}
	return nil
}

func (c *Conn) ring() {
	if c.alarm.Load() == nil {
		return
	}
	if f := c.alarm.Swap(nil); f != nil {
		(*f)()
	}
}

// idle asks the system unless the home has told of an end: what has just arrived is still news to it.
func (c *Conn) idle() bool {
	if c.events.Load()&(ended|shut) != 0 || !c.acquire() {
		return false
	}
	defer c.release()
	var b [1]byte
	_, err := c.socket.Peek(b[:])
	return err == ErrAgain
}
