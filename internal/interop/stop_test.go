package interop

import "testing"

// TestStop stops wsproxy while every combination has a link and curl an answer that is not at its
// end.
func TestStop(t *testing.T) {
	need(t, nodeWS, pythonWebsockets, curl)
	payloads := newPayloads(t)
	backend := startHTTPBackend(t, payloads.largeBinary.file)
	all, _ := combinations(t, payloads, route{path: "/http/*", backend: backend.url})
	proxy := all[0].proxy

	type ends struct{ client, backend *end }
	links := make([]ends, len(all))
	for i, c := range all {
		client, backend, _, _ := c.link(t, handshake{})
		client.send(payloads.text)
		backend.awaitMessage(payloads.text)
		links[i] = ends{client, backend}
	}
	answer := (&site{proxy: proxy, backend: backend, scheme: "https"}).stream(t)
	answer.first()

	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		proxy.stop(t)
	}()
	const reason = "wsproxy is shutting down"
	for i, c := range all {
		t.Run(c.String(), func(t *testing.T) {
			client, backend := links[i].client.in(t), links[i].backend.in(t)
			client.awaitClose(1001, reason)
			backend.awaitClose(1001, reason)
		})
	}
	t.Run("answer under way", func(t *testing.T) {
		// The links tell that wsproxy is stopping.
		if proxy.gone() {
			t.Error("wsproxy has not waited for the answer")
		}
		backend.steps <- struct{}{}
		answer.t = t
		answer.rest()
	})
	<-stopped
}
