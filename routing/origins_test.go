package routing

import (
	"net/url"
	"strings"
	"testing"
)

func TestOrigins(t *testing.T) {
	list := func(texts ...string) Origins {
		var o Origins
		for _, text := range texts {
			origin, err := parseListedOrigin(text)
			if err != nil {
				t.Fatal(err)
			}
			o.List = append(o.List, origin)
		}
		return o
	}
	same := Origins{Same: true}
	for _, tt := range []struct {
		name         string
		origins      Origins
		origin, host string // the host in https
		want         bool
	}{
		{"any", Origins{}, "https://evil.test", "a.test", true},
		{"any, malformed", Origins{RefuseMissing: true}, "evil", "a.test", true},

		{"listed", list("https://a.test", "http://b.test:8080"), "http://b.test:8080", "", true},
		{"listed, written in other case", list("HTTPS://A.test"), "https://a.TEST", "", true},
		{"listed, with the default port", list("https://a.test:443"), "https://a.test", "", true},
		{"listed without, sent with the default port", list("https://a.test/"), "https://a.test:443", "", true},
		{"another scheme", list("https://a.test"), "http://a.test", "", false},
		{"another scheme, its port", list("https://a.test"), "http://a.test:443", "", false},
		{"another port", list("https://a.test"), "https://a.test:8443", "", false},
		{"a name below", list("https://a.test"), "https://x.a.test", "", false},
		{"a name that ends alike", list("https://a.test"), "https://ba.test", "", false},
		{"a name that begins alike", list("https://a.test"), "https://a.test.evil", "", false},
		{"a trailing dot", list("https://a.test"), "https://a.test.", "", false},
		{"listed as the user of another", list("https://a.test"), "https://a.test@evil.test", "", false},
		{"listed and more", list("https://a.test"), "https://a.test/", "", false},
		{"two", list("https://a.test"), "https://a.test https://evil.test", "", false},
		{"two, by a comma", list("https://a.test"), "https://a.test,https://evil.test", "", false},
		{"empty", list("https://a.test"), "", "", false},
		{"a letter that becomes a k", list("https://k.test"), "https://\u212a.test", "", false},
		{"null", list("https://a.test"), "null", "", false},
		{"null, listed", list("null"), "null", "", true},
		{"a host that is called null", list("null"), "https://null", "", false},
		{"another scheme's app", list("capacitor://localhost"), "capacitor://localhost", "", true},
		{"an extension", list("chrome-extension://abcdefgh"), "chrome-extension://abcdefgh", "", true},
		{"IPv6, written in another way", list("http://[2001:db8:0::1]"), "http://[2001:db8::1]:80", "", true},

		{"below", list("https://*.a.test"), "https://x.a.test", "", true},
		{"far below", list("https://*.a.test"), "https://y.x.a.test", "", true},
		{"below, itself", list("https://*.a.test"), "https://a.test", "", false},
		{"below, no name", list("https://*.a.test"), "https://.a.test", "", false},
		{"below, ends alike", list("https://*.a.test"), "https://xa.test", "", false},
		{"below, another port", list("https://*.a.test"), "https://x.a.test:444", "", false},
		{"below, another scheme", list("https://*.a.test"), "http://x.a.test", "", false},

		{"same", same, "https://a.test", "a.test", true},
		{"same, default ports", same, "https://a.test:443", "A.test", true},
		{"same, in the Host", same, "https://a.test", "a.test:443", true},
		{"same, its port", same, "https://a.test:8443", "a.test:8443", true},
		{"same, another port", same, "https://a.test", "a.test:8443", false},
		{"same, another scheme", same, "http://a.test", "a.test", false},
		{"same, another host", same, "https://evil.test", "a.test", false},
		{"same, below", same, "https://x.a.test", "a.test", false},
		{"same, no Host", same, "https://", "", false},
		{"same, null", same, "null", "null", false},
		{"same, IPv6", same, "https://[::1]:8443", "[::1]:8443", true},
		{"same, nonsense alike", same, "https://a b", "a b", false},
	} {
		if got := tt.origins.Match([]byte(tt.origin), "https", []byte(tt.host)); got != tt.want {
			t.Errorf("%s: Match(%q, https, %q) = %v, want %v", tt.name, tt.origin, tt.host, got, tt.want)
		}
	}
}

// FuzzOrigin holds the reading of an origin against net/url's, which is another.
func FuzzOrigin(f *testing.F) {
	for _, seed := range []string{"https://a.test", "http://[::1]:80", "https://a@b", "null", "https://a:443:443", "a://b?c", "https://a%2eb", "x://"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := parseOrigin(text)
		if err != nil || text == "null" {
			return
		}
		u, err := url.Parse(strings.ToLower(text))
		if err != nil {
			t.Fatalf("parseOrigin(%q) = %v, net/url says %v", text, o, err)
		}
		if u.Scheme != o.Scheme || u.User != nil || u.Path+u.RawQuery+u.Fragment != "" {
			t.Errorf("parseOrigin(%q) = %+v, net/url reads %+v", text, o, u)
		}
		if again, err := parseOrigin(u.Scheme + "://" + u.Host); err != nil || again != o {
			t.Errorf("parseOrigin of net/url's %q = %+v, %v, want %+v", u.Host, again, err, o)
		}
		same := Origins{Same: true}
		if !same.Match([]byte(text), o.Scheme, []byte(u.Host)) {
			t.Errorf("%q does not match its own host %q", text, u.Host)
		}
	})
}
