package head

import (
	"errors"
	"slices"
	"testing"
)

func TestCheck(t *testing.T) {
	tests := []struct {
		name, block string
		want        error
	}{
		{"nothing", "", nil},
		{"one field", "Host: a\r\n", nil},
		{"the empty line at the end", "Host: a\r\n\r\n", nil},
		{"the empty line alone", "\r\n", nil},
		{"no space, tabs and trailing space", "A:b\r\nB:\tc \t\r\n", nil},
		{"an empty value", "A:\r\nB: \r\n", nil},
		{"colons and high bytes in a value", "A: b:c\xff\xc3\xa4\r\n", nil},
		{"every byte of a token", "!#$%&'*+-.^_`|~09azAZ: x\r\n", nil},

		{"no line end", "A: b", ErrBareLineEnd},
		{"bare LF", "A: b\nC: d\r\n", ErrBareLineEnd},
		{"bare LF at the end", "A: b\n", ErrBareLineEnd},
		{"bare CR", "A: b\rC: d\r\n", ErrBareLineEnd},
		{"CR CR LF", "A: b\r\r\n", ErrBareLineEnd},
		{"bytes behind the empty line", "A: b\r\n\r\nC: d\r\n", ErrBareLineEnd},
		{"folded with a space", "A: b\r\n c\r\n", ErrFolded},
		{"folded with a tab", "A: b\r\n\tc\r\n", ErrFolded},
		{"a first line that is folded", " A: b\r\n", ErrFolded},
		{"no colon", "A\r\n", ErrName},
		{"an empty name", ": b\r\n", ErrName},
		{"a space before the colon", "A : b\r\n", ErrName},
		{"a space in the name", "X A: b\r\n", ErrName},
		{"a high byte in the name", "X\xe9: b\r\n", ErrName},
		{"NUL in the name", "X\x00: b\r\n", ErrName},
		{"a separator in the name", "X(y): b\r\n", ErrName},
		{"NUL in a value", "A: b\x00\r\n", ErrValue},
		{"an escape in a value", "A: \x1b[1m\r\n", ErrValue},
		{"DEL in a value", "A: b\x7f\r\n", ErrValue},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Check([]byte(tt.block)); !errors.Is(got, tt.want) {
				t.Errorf("Check(%q) = %v, want %v", tt.block, got, tt.want)
			}
		})
	}
}

func TestFields(t *testing.T) {
	tests := []struct {
		name, block string
		want        []string
	}{
		{"none", "\r\n", nil},
		{"order and spelling stay", "b: 1\r\nA: 2\r\nb: 3\r\n\r\n", []string{"b=1", "A=2", "b=3"}},
		{"white space around a value goes", "A: \t b  c\t \r\n", []string{"A=b  c"}},
		{"an empty value", "A:\r\nB:  \r\n", []string{"A=", "B="}},
		{"a colon in a value", "Host: a:80\r\n", []string{"Host=a:80"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for f := range Fields([]byte(tt.block)) {
				got = append(got, string(f.Name)+"="+string(f.Value))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("Fields(%q) = %q, want %q", tt.block, got, tt.want)
			}
		})
	}
}

func TestFieldsAndElementsStopWhenAsked(t *testing.T) {
	n := 0
	for range Fields([]byte("A: 1\r\nB: 2\r\n")) {
		n++
		break
	}
	for range Elements([]byte("a, b")) {
		n++
		break
	}
	if n != 2 {
		t.Errorf("steps = %d, want 2", n)
	}
}

func TestElements(t *testing.T) {
	tests := []struct {
		name, value string
		want        []string
	}{
		{"nothing", "", nil},
		{"one", "upgrade", []string{"upgrade"}},
		{"several", "keep-alive, Upgrade,x", []string{"keep-alive", "Upgrade", "x"}},
		{"empty ones and white space", " ,, a ,\t,b\t,", []string{"a", "b"}},
		{"a comma in quotes", `a; b="c, d", e`, []string{`a; b="c, d"`, "e"}},
		{"an escaped quote in quotes", `a="\",b", c`, []string{`a="\",b"`, "c"}},
		{"quotes that do not end", `a, "b, c`, []string{"a", `"b, c`}},
		{"an escape at the end", `a, "\`, []string{"a", `"\`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for e := range Elements([]byte(tt.value)) {
				got = append(got, string(e))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("Elements(%q) = %q, want %q", tt.value, got, tt.want)
			}
		})
	}
}

func TestHasElement(t *testing.T) {
	tests := []struct {
		value, element string
		want           bool
	}{
		{"Upgrade", "upgrade", true},
		{"keep-alive, UPGRADE", "upgrade", true},
		{"upgrade2", "upgrade", false},
		{"up grade", "upgrade", false},
		{`"upgrade"`, "upgrade", false},
		{`x="a, upgrade"`, "upgrade", false},
		{"", "upgrade", false},
	}
	for _, tt := range tests {
		if got := HasElement([]byte(tt.value), tt.element); got != tt.want {
			t.Errorf("HasElement(%q, %q) = %v, want %v", tt.value, tt.element, got, tt.want)
		}
	}
}

func TestIsToken(t *testing.T) {
	for token, want := range map[string]bool{
		"GET": true, "x-y_z.1": true, "|~": true,
		"": false, "a b": false, "a/b": false, "a\x80": false, "(a": false, "a\t": false, `"`: false,
	} {
		if got := IsToken([]byte(token)); got != want {
			t.Errorf("IsToken(%q) = %v, want %v", token, got, want)
		}
	}
}

func TestEqualFold(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"Host", "hOST", true},
		{"", "", true},
		{"Host", "Hos", false},
		{"[", "{", false}, // they differ by the bit that tells a from A
		{"@", "`", false},
		{"\u212aey", "key", false}, // the Kelvin sign folds to k
		{"\xe4", "\xc4", false},
		{"\xe4", "\xe4", true},
	}
	for _, tt := range tests {
		if got := EqualFold([]byte(tt.a), tt.b); got != tt.want {
			t.Errorf("EqualFold(%q, %q) = %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestHopByHop(t *testing.T) {
	for name, want := range map[string]bool{
		"connection": true, "KEEP-ALIVE": true, "Proxy-Connection": true, "te": true, "Trailer": true,
		"Transfer-Encoding": true, "Upgrade": true, "Proxy-Authorization": true, "Proxy-Authenticate": true,
		"Host": false, "Content-Length": false, "Cookie": false, "Sec-WebSocket-Key": false, "": false,
	} {
		if got := HopByHop([]byte(name)); got != want {
			t.Errorf("HopByHop(%q) = %v, want %v", name, got, want)
		}
	}
}
