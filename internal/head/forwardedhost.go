package head

// ForwardedHost is the host that the client asked for by the word of a trusted proxy, X-Forwarded-Host. It
// is empty when there is no such word, or none that makes sense. fields is the client's block, which Check
// has passed.
func ForwardedHost(fields []byte) []byte {
	c := claimsOf(fields)
	if !isHost(c.host) {
		return nil
	}
	return c.host
}
