package main

import (
	"fmt"
	"io"
	"strings"

	"wsproxy/routing"
)

// summary is a configuration as check explains it. It is printed as JSON, too.
type summary struct {
	File      string         `json:"file"`
	Files     []string       `json:"files"`
	Listeners []listenerInfo `json:"listeners"`
	Settings  []settingInfo  `json:"settings"` // those that are not the default
	Routes    []routeInfo    `json:"routes"`   // the most specific first
	Warnings  []faultInfo    `json:"warnings"`
}

type listenerInfo struct {
	Address       string `json:"address"`
	TLS           bool   `json:"tls"`
	Certificates  string `json:"certificates,omitempty"` // where they come from
	ClientAuth    string `json:"client_auth,omitempty"`
	RedirectPort  int    `json:"redirect_port,omitempty"`
	ProxyProtocol bool   `json:"proxy_protocol,omitempty"`
}

type routeInfo struct {
	Name     string        `json:"name"`
	At       string        `json:"at"` // file:line
	Serves   string        `json:"serves"`
	Backends []backendInfo `json:"backends"`
	Settings []settingInfo `json:"settings"`
}

type backendInfo struct {
	URL      string        `json:"url"`
	Verified string        `json:"verified,omitempty"` // by whom, for one that is spoken to over TLS
	Settings []settingInfo `json:"settings,omitempty"`
}

// settingInfo is one key, with the default where the value is another.
type settingInfo struct {
	Key     string `json:"key"`
	Value   string `json:"value"`
	Default string `json:"default,omitempty"`
}

type faultInfo struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Key     string `json:"key,omitempty"`
	Problem string `json:"problem"`
}

func newSummary(cfg *routing.Config) *summary {
	s := &summary{File: cfg.File, Files: cfg.Files, Settings: settingInfos(cfg.Settings(), false), Warnings: faultInfos(cfg.Warnings)}
	for i := range cfg.Listeners {
		s.Listeners = append(s.Listeners, newListenerInfo(&cfg.Listeners[i]))
	}
	for _, r := range cfg.MostSpecificFirst() {
		s.Routes = append(s.Routes, newRouteInfo(cfg, r, false))
	}
	return s
}

func faultInfos(faults []routing.Fault) []faultInfo {
	infos := []faultInfo{}
	for _, f := range faults {
		infos = append(infos, faultInfo(f))
	}
	return infos
}

func newListenerInfo(l *routing.Listener) listenerInfo {
	info := listenerInfo{Address: l.Address, TLS: l.TLS != nil, RedirectPort: l.HTTPSPort, ProxyProtocol: l.ProxyProtocol}
	t := l.TLS
	switch {
	case t == nil:
		return info
	case len(t.SelfSigned) > 0:
		info.Certificates = "self-signed for " + strings.Join(t.SelfSigned, ", ")
	case t.ACME != nil:
		info.Certificates = "ACME for " + strings.Join(t.ACME.Hosts, ", ")
	default:
		var names []string
		for _, c := range t.Certificates {
			names = append(names, c.Names...)
		}
		info.Certificates = "for " + strings.Join(names, ", ")
	}
	if t.ClientAuth != "off" {
		info.ClientAuth = t.ClientAuth
	}
	return info
}

// newRouteInfo has all settings of a route, or those that are not the default; of its backends only these.
func newRouteInfo(cfg *routing.Config, r *routing.RouteConfig, all bool) routeInfo {
	info := routeInfo{Name: r.Name(), At: place(cfg, r), Serves: "WebSockets and HTTP", Settings: settingInfos(r.Settings(), all)}
	if r.NoHTTP {
		info.Serves = "WebSockets"
	}
	for _, b := range r.Backends {
		one := backendInfo{URL: b.URL, Settings: settingInfos(b.Settings(), false)}
		switch {
		case b.TLS == nil:
		case b.TLS.InsecureSkipVerify:
			one.Verified = "not verified"
		case b.TLS.CA != "":
			one.Verified = "as " + b.TLS.ServerName + " by " + b.TLS.CA
		default:
			one.Verified = "as " + b.TLS.ServerName + " by the system's CAs"
		}
		info.Backends = append(info.Backends, one)
	}
	switch h := r.HostHeader; {
	case h.Backend:
		info.Settings = append(info.Settings, settingInfo{"host_header", "backend", "keep"})
	case h.Literal != "":
		info.Settings = append(info.Settings, settingInfo{"host_header", h.Literal, "keep"})
	}
	switch p := r.Prefix; {
	case p.Strip:
		info.Settings = append(info.Settings, settingInfo{"path_prefix", "strip", "keep"})
	case p.Replace != "":
		info.Settings = append(info.Settings, settingInfo{"path_prefix", p.Replace, "keep"})
	}
	changes := func(key string, rules routing.HeaderRules) {
		if n := len(rules.Remove) + len(rules.Set) + len(rules.Add); n > 0 && !all {
			info.Settings = append(info.Settings, settingInfo{Key: key, Value: count(n, "change")})
		}
	}
	changes("request_headers", r.RequestHeaders)
	changes("response_headers", r.ResponseHeaders)
	return info
}

// place is where a route stands.
func place(cfg *routing.Config, r *routing.RouteConfig) string {
	file := r.File
	if file == "" {
		file = cfg.File
	}
	return fmt.Sprintf("%s:%d", file, r.Line)
}

// settingInfos are all settings that say something, or those that are not the default.
func settingInfos(settings []routing.Setting, all bool) []settingInfo {
	infos := []settingInfo{}
	for _, s := range settings {
		if s.Value == "" || !all && !s.Changed() {
			continue
		}
		info := settingInfo{Key: s.Key, Value: s.Value}
		if s.Changed() {
			info.Default = s.Default
		}
		infos = append(infos, info)
	}
	return infos
}

// print writes the summary for people, behind the line that says that all is good.
func (s *summary) print(w io.Writer) {
	t := newTable(w)
	t.section("listeners")
	for _, l := range s.Listeners {
		t.line(l.Address, l.text())
	}
	if len(s.Settings) > 0 {
		t.section("settings")
		t.settings("", s.Settings)
	}
	t.section("routes, the most specific first")
	for _, r := range s.Routes {
		t.line(r.Name, r.At)
		t.flush() // each part is aligned by itself
		for _, b := range r.Backends {
			t.line("  → "+b.URL, b.text())
		}
		t.flush()
		t.settings("  ", r.Settings)
		t.flush()
	}
	t.flush()
}

func (l listenerInfo) text() string {
	words := []string{"ws:// and http://"}
	if l.TLS {
		words = []string{"wss:// and https://", "certificate " + l.Certificates}
	}
	if l.ClientAuth != "" {
		words = append(words, "client_auth: "+l.ClientAuth)
	}
	if l.RedirectPort > 0 {
		words = []string{fmt.Sprintf("sends everything to https, port %d", l.RedirectPort)}
	}
	if l.ProxyProtocol {
		words = append(words, "PROXY protocol from trusted_proxies")
	}
	return strings.Join(words, "; ")
}

func (b backendInfo) text() string {
	var words []string
	for _, s := range b.Settings {
		words = append(words, s.Key+" "+s.Value)
	}
	if b.Verified != "" {
		words = append(words, "TLS, "+b.Verified)
	}
	return strings.Join(words, "; ")
}
