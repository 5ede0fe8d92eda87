package head

import (
	"net/netip"
	"testing"
)

func field(name, value string) Field { return Field{Name: []byte(name), Value: []byte(value)} }

func TestEdit(t *testing.T) {
	tests := []struct {
		name         string
		edit         *Edit
		fields, want string
	}{
		{"none", nil, "A: 1\r\n", "A: 1\r\n"},
		{"an empty one", &Edit{}, "A: 1\r\nb: 2\r\n", "A: 1\r\nb: 2\r\n"},
		{"no fields", &Edit{Remove: []string{"A"}, Set: []Field{field("B", "1")}, Add: []Field{field("C", "2")}}, "", "B: 1\r\nC: 2\r\n"},
		{"remove every one in any case", &Edit{Remove: []string{"Server", "x"}}, "SERVER: 1\r\nA: 2\r\nserver: 3\r\nServer2: 4\r\nX: 5\r\n",
			"A: 2\r\nServer2: 4\r\n"},
		{"set where the first stands", &Edit{Set: []Field{field("X-a", "new")}}, "A: 1\r\nx-A: 2\r\nB: 3\r\nX-A: 4\r\n",
			"A: 1\r\nX-a: new\r\nB: 3\r\n"},
		{"set what there is not", &Edit{Set: []Field{field("X", "1"), field("Y", "2")}}, "A: 1\r\n", "A: 1\r\nX: 1\r\nY: 2\r\n"},
		{"set nothing", &Edit{Set: []Field{field("A", "")}}, "A: 1\r\n", "A: \r\n"},
		{"set twice", &Edit{Set: []Field{field("X", "1"), field("x", "2")}}, "A: 1\r\n", "A: 1\r\nX: 1\r\n"},
		{"set twice what there is", &Edit{Set: []Field{field("X", "1"), field("x", "2")}}, "x: 0\r\nA: 1\r\nX: 0\r\n", "X: 1\r\nA: 1\r\n"},
		{"remove, then set", &Edit{Remove: []string{"x"}, Set: []Field{field("X", "1")}}, "X: 0\r\nA: 1\r\n", "A: 1\r\nX: 1\r\n"},
		{"add, whatever there is", &Edit{Add: []Field{field("a", "2"), field("A", "3")}}, "A: 1\r\nB: 1\r\n", "A: 1\r\nB: 1\r\na: 2\r\nA: 3\r\n"},
		{"remove, then add", &Edit{Remove: []string{"a"}, Add: []Field{field("A", "2")}}, "A: 1\r\nB: 1\r\n", "B: 1\r\nA: 2\r\n"},
		{"set, then add", &Edit{Set: []Field{field("A", "2")}, Add: []Field{field("A", "3")}}, "A: 0\r\nB: 1\r\nA: 1\r\n", "A: 2\r\nB: 1\r\nA: 3\r\n"},
		{"everything goes", &Edit{Remove: []string{"A"}}, "A: 1\r\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			const before = "before A: 1\r\n"
			if got := string(tt.edit.apply([]byte(before+tt.fields), len(before))); got != before+tt.want {
				t.Errorf("apply:\n%q, want\n%q", got, before+tt.want)
			}
		})
	}
}

func TestEditComesLast(t *testing.T) {
	edit := &Edit{
		Remove: []string{"x-forwarded-proto", "Cookie"},
		Set:    []Field{field("x-forwarded-for", "198.51.100.1"), field("X-Client-Cert-Subject", "-")},
		Add:    []Field{field("Forwarded", "for=_hidden"), field("X-Hop", "1")},
	}
	r := Request{
		Method: []byte("GET"), Target: []byte("/"), Edit: edit,
		Fields:     []byte("Host: a\r\nCookie: b\r\nConnection: X-Hop\r\nX-Hop: c\r\nForwarded: d\r\n"),
		Origin:     Origin{Peer: netip.MustParseAddr("192.0.2.7"), Proto: "http", Host: "a"},
		ClientCert: &ClientCert{Subject: "CN=a", Fingerprint: "00"},
	}
	want := "GET / HTTP/1.1\r\nHost: a\r\nx-forwarded-for: 198.51.100.1\r\nX-Forwarded-Host: a\r\n" +
		"X-Client-Cert-Subject: -\r\nX-Client-Cert-Fingerprint: 00\r\nForwarded: for=_hidden\r\nX-Hop: 1\r\n\r\n"
	if got := string(r.Append(nil)); got != want {
		t.Errorf("Append of a request:\n%q, want\n%q", got, want)
	}

	response := Response{Status: 101, Fields: []byte("Server: a\r\nUpgrade: websocket\r\nCookie: b\r\nX-Forwarded-For: c\r\nConnection: upgrade\r\n")}
	want = "HTTP/1.1 101 \r\nServer: a\r\nUpgrade: websocket\r\nx-forwarded-for: 198.51.100.1\r\nConnection: Upgrade\r\n" +
		"X-Client-Cert-Subject: -\r\nForwarded: for=_hidden\r\nX-Hop: 1\r\n\r\n"
	if got := string(response.Append(nil, edit)); got != want {
		t.Errorf("Append of a 101:\n%q, want\n%q", got, want)
	}
}
