package main

import (
	"context"
	"os"
)

// stop ends the proxy in good order inside the grace period: nothing new is accepted, requests
// finish, links close with 1001. What is left then is cut off. A second signal does that at once.
func (p *proxy) stop(signals <-chan os.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.current.Load().cfg.GracePeriod)
	defer cancel()
	p.leave()
	p.reloading.Lock() // a reload that is under way ends now
	files := p.files
	p.reloading.Unlock()
	if files != nil {
		files.Close()
	}
	if p.control != nil {
		p.control.Close() // the next process may have the socket
	}
	finished := make(chan struct{})
	var cut int
	var requests error
	go func() {
		defer close(finished)
		p.engine.Drain()
		requests = p.front.Shutdown(ctx)
		cut = p.engine.Stop(ctx)
	}()
	select {
	case <-finished:
	case s := <-signals:
		p.log.Warn("stopping at once", "signal", s.String(), "links", p.engine.Stats().Open)
		return exitStatus(1)
	}
	p.close()
	if cut > 0 || requests != nil {
		p.log.Warn("stopped at the end of the grace period", "links_cut", cut, "requests_cut", requests != nil)
		return nil
	}
	p.serving.Wait()
	p.log.Info("stopped", "links_served", p.engine.Stats().Opened)
	return nil
}

// close ends what needs no grace.
func (p *proxy) close() {
	p.doingMu.Lock()
	p.cancel()
	p.doingMu.Unlock()
	p.discoverer.Close()
	p.prober.Close()
	p.doing.Wait()
	p.reloading.Lock()
	defer p.reloading.Unlock()
	if p.watcher != nil {
		p.watcher.Close()
	}
	for _, ln := range p.listeners {
		ln.Close()
	}
	if p.forward != nil {
		p.forward.Close()
	}
	p.resolver.Close()
	if p.echo != nil {
		p.echo.Close()
	}
}
