package routing

import "testing"

func TestHeaderRulesEmpty(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rules HeaderRules
		want  bool
	}{
		{"zero", HeaderRules{}, true},
		{"empty lists", HeaderRules{Remove: []string{}, Set: []HeaderRule{}, Add: []HeaderRule{}}, true},
		{"remove", HeaderRules{Remove: []string{"A"}}, false},
		{"set", HeaderRules{Set: []HeaderRule{{Name: "A"}}}, false},
		{"add", HeaderRules{Add: []HeaderRule{{Name: "A"}}}, false},
	} {
		if got := tt.rules.Empty(); got != tt.want {
			t.Errorf("%s: Empty = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestNewTableRefusesHeaderRules is for rules made in Go; those of the file stand in testdata.
func TestNewTableRefusesHeaderRules(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rules HeaderRules
		want  string
	}{
		{"right", HeaderRules{Set: []HeaderRule{{Name: "X-A"}}, Add: []HeaderRule{{Name: "x-a"}, {Name: "X-B"}, {Name: "x-b"}},
			Remove: []string{"X-B", "Cookie", "!#$%&'*+-.^_`|~"}}, ""},
		{"set of no name", HeaderRules{Set: []HeaderRule{{}}}, "set: an empty text stands here; write the name of a header, e.g. X-Real-IP"},
		{"a line break in a name", HeaderRules{Add: []HeaderRule{{Name: "X\r\nY"}}},
			`add: "X\r\nY" is not the name of a header; letters, digits and any of !#$%&'*+-.^_` + "`|~ are allowed"},
		{"a zero byte in a name", HeaderRules{Remove: []string{"X\x00"}},
			`remove: "X\x00" is not the name of a header; letters, digits and any of !#$%&'*+-.^_` + "`|~ are allowed"},
		{"the host", HeaderRules{Add: []HeaderRule{{Name: "hOST"}}}, `add: "hOST" is not changed here; use host_header`},
		{"twice", HeaderRules{Set: []HeaderRule{{Name: "X-A"}, {Name: "x-a"}}}, `set: "x-a" is there twice`},
		{"set and removed", HeaderRules{Set: []HeaderRule{{Name: "X-A"}}, Remove: []string{"x-A"}}, `remove: "x-A" is in set, too`},
	} {
		for _, key := range []string{"request_headers", "response_headers"} {
			rc := RouteConfig{Backends: []BackendConfig{{URL: "http://a", Addr: "a:80"}}}
			rules := &rc.RequestHeaders
			if key == "response_headers" {
				rules = &rc.ResponseHeaders
			}
			*rules = tt.rules
			want := "no error"
			if tt.want != "" {
				want = "routes[0]: " + key + ": " + tt.want
			}
			got := "no error"
			if _, err := NewTable(&Config{Routes: []RouteConfig{rc}}, nil, nil); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("%s: NewTable = %s, want %s", tt.name, got, want)
			}
		}
	}
}
