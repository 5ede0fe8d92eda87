package frame

// PingPayload is the size of the payload of the Pings that AppendPing makes.
const PingPayload = 8

// MaxPing is the size of the largest of them, and of the Pongs that answer them.
const MaxPing = 2 + 4 + PingPayload

// AppendPing appends a Ping to dst; for mask see AppendClose.
func AppendPing(dst []byte, payload *[PingPayload]byte, mask *[4]byte) []byte {
	if mask == nil {
		dst = append(dst, bitFin|opPing, PingPayload)
		return append(dst, payload[:]...)
	}
	dst = append(dst, bitFin|opPing, bitMask|PingPayload)
	dst = append(dst, mask[:]...)
	for i, b := range payload {
		dst = append(dst, b^mask[i%4])
	}
	return dst
}

// MatchPong looks for the Pong with that payload at the start of p, a frame boundary. size is what it
// takes if it is there whole, else 0. maybe says that p, which is not empty then, may be its
// beginning: what follows decides. That is never more than MaxHead bytes.
func MatchPong(p []byte, fromClient bool, payload *[PingPayload]byte) (size int, maybe bool) {
	whole, second := 2+PingPayload, byte(PingPayload)
	if fromClient {
		whole, second = MaxPing, bitMask|PingPayload
	}
	for i := range min(len(p), whole) {
		want := p[i]
		switch at := i - (whole - PingPayload); {
		case i == 0:
			want = bitFin | opPong
		case i == 1:
			want = second
		case at >= 0 && fromClient:
			want = payload[at] ^ p[2+at%4]
		case at >= 0:
			want = payload[at]
		}
		if p[i] != want {
			return 0, false
		}
	}
	if len(p) < whole {
		return 0, len(p) > 0
	}
	return whole, false
}
