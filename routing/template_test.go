package routing

import (
	"net/netip"
	"strings"
	"testing"
)

var vars = Vars{
	ClientIP: netip.MustParseAddr("192.0.2.7"), ClientPort: 50123,
	Host: []byte("Chat.Example.com:8443"), Method: []byte("GET"), Path: []byte("/ws/room 1"), Query: []byte("a=1&b=$2"),
	Scheme: "https", ServerPort: 8443, Route: "chat.example.com/ws/*", Backend: "http://10.0.0.7:9000",
}

func TestTemplate(t *testing.T) {
	nobody := Vars{}
	for _, tt := range []struct {
		name, text string
		vars       *Vars
		want       string
	}{
		{"empty", "", &vars, ""},
		{"no variable", "nosniff", &vars, "nosniff"},
		{"one variable", "${client_ip}", &vars, "192.0.2.7"},
		{"side by side", "${client_ip}${client_port}", &vars, "192.0.2.750123"},
		{"text around", `for="${client_ip}:${client_port}";x`, &vars, `for="192.0.2.7:50123";x`},
		{"the request", "${method} ${scheme}://${host}${path}?${query}", &vars, "GET https://Chat.Example.com:8443/ws/room 1?a=1&b=$2"},
		{"the proxy", "${server_port} ${route} ${backend}", &vars, "8443 chat.example.com/ws/* http://10.0.0.7:9000"},
		{"nothing known", "[${client_ip}${client_port}${host}${method}${path}${query}${scheme}${server_port}${route}${backend}]", &nobody, "[]"},
		{"IPv6", "${client_ip}", &Vars{ClientIP: netip.MustParseAddr("2001:db8::1")}, "2001:db8::1"},
		{"IPv4 mapped to IPv6", "${client_ip}", &Vars{ClientIP: netip.MustParseAddr("::ffff:192.0.2.7")}, "192.0.2.7"},
		{"tab and UTF-8", "a\tä", &vars, "a\tä"},
		{"a lone dollar", "$5 $ $$ $client_ip $", &vars, "$5 $ $$ $client_ip $"},
		{"meant as it stands", "$${client_ip}", &vars, "${client_ip}"},
		{"not a variable of YAML", "{client_ip} }", &vars, "{client_ip} }"},
		{"three dollars", "$$${client_ip}", &vars, "$${client_ip}"},
		{"meant as it stands, not closed", "$${", &vars, "${"},
		{"values are not read again", "${query}", &Vars{Query: []byte("${client_ip}")}, "${client_ip}"},
		{"control characters", "${path}|${query}|${host}", &Vars{Path: []byte("/a\x00\r\nX: y\x7f"), Query: []byte("\t\x1f"), Host: []byte("\n")},
			"/a%00%0D%0AX: y%7F|\t%1F|%0A"},
	} {
		v, err := ParseTemplate(tt.text)
		if err != nil {
			t.Errorf("%s: ParseTemplate(%q): %v", tt.name, tt.text, err)
			continue
		}
		if got := string(v.Append([]byte("> "), tt.vars)); got != "> "+tt.want {
			t.Errorf("%s: %q gives %q, want %q", tt.name, tt.text, got, "> "+tt.want)
		}
		if v.String() != tt.text {
			t.Errorf("%s: String of %q = %q", tt.name, tt.text, v.String())
		}
	}
}

func TestTemplateAllocatesNothing(t *testing.T) {
	v, err := ParseTemplate("${client_ip}:${client_port} ${method} ${scheme}://${host}:${server_port}${path}?${query} ${route} ${backend}")
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 0, 512)
	if n := testing.AllocsPerRun(100, func() { v.Append(dst, &vars) }); n != 0 {
		t.Errorf("Append allocates %v times, want 0", n)
	}
}

// FuzzTemplate: whatever is written, and whatever a client sends, a value is what reading it from left
// to right gives, and fit for a header.
func FuzzTemplate(f *testing.F) {
	f.Add("a ${path} $${path} $$${path} ${host", "/x\r\n")
	f.Add("${client_ip}${query}", "${path}")
	f.Add("$${$${path}}", "}")
	f.Fuzz(func(t *testing.T, text, sent string) {
		v, err := ParseTemplate(text)
		if err != nil {
			if strings.ContainsAny(text, "$\n\r") || len(text) > maxValueLength || strings.ContainsFunc(text, func(c rune) bool {
				return c < 0x80 && isControl(byte(c))
			}) {
				return
			}
			t.Fatalf("ParseTemplate(%q): %v", text, err)
		}
		b := []byte(sent)
		got := string(v.Append(nil, &Vars{Host: b, Method: b, Path: b, Query: b}))
		for i := range len(got) {
			if isControl(got[i]) {
				t.Fatalf("%q for a client that sends %q gives %q", text, sent, got)
			}
		}
		if sent == "" && strings.Count(text, "$") == 0 && got != text {
			t.Errorf("%q gives %q", text, got)
		}
		if want := naiveTemplate(text, string(appendPrintable(nil, sent))); got != want {
			t.Errorf("%q for a client that sends %q gives %q, want %q", text, sent, got, want)
		}
	})
}

// naiveTemplate is Append written another way: what stands for ${ is set aside, the variables are
// replaced one after the other, each by a mark that no text has.
func naiveTemplate(text, sent string) string {
	text = strings.ReplaceAll(text, "$${", "\x01")
	for _, name := range variables {
		mark := ""
		if name == "host" || name == "method" || name == "path" || name == "query" {
			mark = "\x02"
		}
		text = strings.ReplaceAll(text, "${"+name+"}", mark)
	}
	return strings.NewReplacer("\x01", "${", "\x02", sent).Replace(text)
}
