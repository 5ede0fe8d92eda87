package record

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"io"
	"testing"
)

// The end of RFC 8448 §3: "Simple 1-RTT Handshake", from the application traffic secrets on.
const (
	rfcClientSecret = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"
	rfcServerSecret = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"

	rfcClientKey = "17422dda596ed5d9acd890e3c63f5051"
	rfcClientIV  = "5b78923dee08579033e523d9"
	rfcServerKey = "9f02283b6c9c07efc26bb9f2ac92e356"
	rfcServerIV  = "cf782b88dd83549aadf1e984"

	rfcTicket = "040000c90000001efad6aac502000000b22c035d829359ee5ff7af4ec9000000" +
		"00262a6494dc486d2c8a34cb33fa90bf1b0070ad3c498883c9367c09a2be785a" +
		"bc55cd226097a3a982117283f82a03a143efd3ff5dd36d64e861be7fd61d2827" +
		"db279cce145077d454a3664d4e6da4d29ee03725a6a4dafcd0fc67d2aea70529" +
		"513e3da2677fa5906c5b3f7d8f92f228bda40dda721470f9fbf297b5aea61764" +
		"6fac5c03272e970727c621a79141ef5f7de6505e5bfbc388e93343694093934a" +
		"e4d3570008002a000400000400"
	rfcTicketRecord = "17030300de3a6b8f90414a97d6959c3487680de5134a2b240e6cffac116e95d4" +
		"1d6af8f6b580dcf3d11d63c758db289a015940252f55713e061dc13e078891a3" +
		"8efbcf5753ad8ef170ad3c7353d16d9da773b9ca7f2b9fa1b6c0d4a3d03f75e0" +
		"9c30ba1e62972ac46f75f7b981be63439b2999ce13064615139891d5e4c5b406" +
		"f16e3fc181a77ca475840025db2f0a77f81b5ab05b94c01346755f69232c8651" +
		"9d86cbeeac87aac347d143f9605d64f650db4d023e70e952ca49fe5137121c74" +
		"bc2697687e248746d6df353005f3bce18696129c8153556b3b6c6779b37bf159" +
		"85684f"

	rfcClientRecord = "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f" +
		"2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a6292a2977014bd1e3deae6" +
		"3aeebb21694915e4"
	rfcServerRecord = "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36" +
		"e30efaf97d90e6dffc602dcb501a59a8fcc49c4bf2e5f0a21c0047c2abf33254" +
		"0dd032e167c2955d"
	rfcClientAlert = "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3"
	rfcServerAlert = "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9"
)

// rfcData is what both sides send: fifty bytes that count up.
func rfcData() []byte {
	b := make([]byte, 50)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func rfcSession(t *testing.T, client bool) *Session {
	t.Helper()
	s, err := New(Secrets{
		Suite: tls.TLS_AES_128_GCM_SHA256, Client: client,
		ClientTraffic: unhex(t, rfcClientSecret), ServerTraffic: unhex(t, rfcServerSecret),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

func TestRFC8448(t *testing.T) {
	server, client := rfcSession(t, false), rfcSession(t, true)
	for _, tt := range []struct {
		name    string
		got     []byte
		want    string
		session *Session
	}{
		{"client key", client.out.key[:16], rfcClientKey, client},
		{"client IV", client.out.iv[:], rfcClientIV, client},
		{"server key", server.out.key[:16], rfcServerKey, server},
		{"server IV", server.out.iv[:], rfcServerIV, server},
	} {
		if !bytes.Equal(tt.got, unhex(t, tt.want)) {
			t.Errorf("%s = %x, want %s", tt.name, tt.got, tt.want)
		}
	}

	ciphers := NewCiphers(4)
	if got := server.seal(ciphers, nil, typeHandshake, unhex(t, rfcTicket)); !bytes.Equal(got, unhex(t, rfcTicketRecord)) {
		t.Errorf("ticket = %x, want %s", got, rfcTicketRecord)
	}
	if got := client.Seal(ciphers, nil, rfcData()); !bytes.Equal(got, unhex(t, rfcClientRecord)) {
		t.Errorf("client's data = %x, want %s", got, rfcClientRecord)
	}
	if got := server.Seal(ciphers, nil, rfcData()); !bytes.Equal(got, unhex(t, rfcServerRecord)) {
		t.Errorf("server's data = %x, want %s", got, rfcServerRecord)
	}
	if got := client.AppendCloseNotify(ciphers, nil); !bytes.Equal(got, unhex(t, rfcClientAlert)) {
		t.Errorf("client's close_notify = %x, want %s", got, rfcClientAlert)
	}
	if got := server.AppendCloseNotify(ciphers, nil); !bytes.Equal(got, unhex(t, rfcServerAlert)) {
		t.Errorf("server's close_notify = %x, want %s", got, rfcServerAlert)
	}

	// And the other way round.
	for name, tt := range map[string]struct {
		session *Session
		wire    string
	}{
		"server": {client, rfcTicketRecord + rfcServerRecord + rfcServerAlert},
		"client": {server, rfcClientRecord + rfcClientAlert},
	} {
		wire := unhex(t, tt.wire)
		out, n, err := tt.session.Open(ciphers, make([]byte, 0, MaxOpened), wire)
		if !bytes.Equal(out, rfcData()) || n != len(wire) || err != io.EOF {
			t.Errorf("what the %s sent: %x, %d of %d, %v", name, out, n, len(wire), err)
		}
	}
}

// What a handshake of the RFC's server has sent before the takeover: Finished under another key, and
// the ticket.
func TestRFC8448Sent(t *testing.T) {
	server := rfcSession(t, false)
	ciphers := NewCiphers(4)
	finished := unhex(t, "170303003575ec4dc238cce60b298044a71e219c56cc77b0517fe9b93c7a4bfc44d87f38f80338ac98fc46deb384bd1caeacab6867d726c40546")
	room := make([]byte, 0, MaxOpened)
	if server.Sent(ciphers, room, finished) {
		t.Error("Sent = true of a record under a handshake key")
	}
	if !server.Sent(ciphers, room, unhex(t, rfcTicketRecord)) {
		t.Error("Sent = false of the session ticket")
	}
	if got := server.Seal(ciphers, nil, rfcData()); !bytes.Equal(got, unhex(t, rfcServerRecord)) {
		t.Errorf("data behind what was sent = %x, want %s", got, rfcServerRecord)
	}
}
