package head

// Request is the head of a request on its way to a backend. All of it stays the caller's.
type Request struct {
	// Method and Target stand in the request line as the client sent them.
	Method, Target []byte

	// Fields is the client's block of field lines, which Check has passed.
	Fields []byte

	// Host replaces the value of the client's Host field. Empty keeps it.
	Host string

	// ClientIP, Proto (http or https) and ClientHost become X-Forwarded-For, -Proto and -Host.
	ClientIP, Proto, ClientHost string

	// Upgrade keeps the request an opening handshake: Connection and Upgrade, which are
	// hop-by-hop, stand again where the client had them. A handshake has no body and no fields
	// that frame one.
	Upgrade bool
}

// Append appends the head to dst: the request line of HTTP/1.1, the client's fields in their order
// and spelling, then the X-Forwarded fields and the empty line. Left out are
//   - hop-by-hop fields and those that Connection names (RFC 9110 §7.6.1), but for
//     Transfer-Encoding, since a body is passed on in the framing it came in;
//   - Expect, which the server in front has already answered;
//   - X-Forwarded-* and Forwarded from the client, which nobody has reason to believe.
func (r *Request) Append(dst []byte) []byte {
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	dst = append(dst, r.Target...)
	dst = append(dst, " HTTP/1.1\r\n"...)

	named := ConnectionNames(r.Fields)
	connection, upgrade := false, false
	for f := range Fields(r.Fields) {
		switch {
		case r.Upgrade && f.Is("Connection"):
			// Several Connection fields are one list (RFC 9110 §5.3); one says all that is left.
			if !connection {
				dst = appendField(dst, f.Name, "Upgrade")
			}
			connection = true
		case r.Upgrade && f.Is("Upgrade"):
			if !upgrade {
				dst = appendField(dst, f.Name, "websocket")
			}
			upgrade = true
		case f.Is("Transfer-Encoding"), f.Is("Content-Length"):
			if !r.Upgrade {
				dst = appendField(dst, f.Name, f.Value)
			}
		case r.Host != "" && f.Is("Host"):
			dst = appendField(dst, f.Name, r.Host)
		case HopByHop(f.Name), f.Is("Expect"), forwarded(f.Name), named.has(f.Name):
		default:
			dst = appendField(dst, f.Name, f.Value)
		}
	}
	dst = appendField(dst, "X-Forwarded-For", r.ClientIP)
	dst = appendField(dst, "X-Forwarded-Proto", r.Proto)
	dst = appendField(dst, "X-Forwarded-Host", r.ClientHost)
	return append(dst, crlf...)
}

// Names are the field names that the Connection fields of a block list.
type Names [][]byte

// ConnectionNames collects them; the block must have passed Check.
func ConnectionNames(block []byte) Names {
	var names Names
	for f := range Fields(block) {
		if f.Is("Connection") {
			for e := range Elements(f.Value) {
				names = append(names, e)
			}
		}
	}
	return names
}

func (n Names) has(name []byte) bool {
	for _, e := range n {
		if EqualFold(e, string(name)) {
			return true
		}
	}
	return false
}

// forwarded reports whether a field tells where a request came from.
func forwarded(name []byte) bool {
	const prefix = "X-Forwarded-"
	return len(name) > len(prefix) && EqualFold(name[:len(prefix)], prefix) || EqualFold(name, "Forwarded")
}

func appendField[N, V []byte | string](dst []byte, name N, value V) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, crlf...)
}
