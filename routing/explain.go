package routing

import (
	"cmp"
	"slices"
	"strings"
)

// Name is that of the Route it makes: host and path, * for any host.
func (r *RouteConfig) Name() string { return RouteName(r.Host, cmp.Or(r.Path, "/*")) }

// MostSpecificFirst are the routes in the order in which Match would ask them, if it asked one by one;
// hosts that are alike in that are in the order of the alphabet. They are those of c, whose Routes stay
// as they are.
func (c *Config) MostSpecificFirst() []*RouteConfig {
	var routes []*RouteConfig
	for i := range c.Routes {
		routes = append(routes, &c.Routes[i])
	}
	slices.SortStableFunc(routes, func(a, b *RouteConfig) int {
		return cmp.Or(
			cmp.Compare(hostKind(a.Host), hostKind(b.Host)),
			// Of wildcards the longer first.
			cmp.Compare(strings.Count(b.Host, "."), strings.Count(a.Host, "."))*(hostKind(a.Host)%2),
			cmp.Compare(a.Host, b.Host),
			comparePaths(cmp.Or(a.Path, "/*"), cmp.Or(b.Path, "/*")),
		)
	})
	return routes
}

// hostKind is 0 for a name, 1 for a wildcard, 2 for any host.
func hostKind(host string) int {
	switch {
	case host == "":
		return 2
	case strings.HasPrefix(host, "*"):
		return 1
	}
	return 0
}

func comparePaths(a, b string) int {
	aBase, aPrefix := strings.CutSuffix(a, "/*")
	bBase, bPrefix := strings.CutSuffix(b, "/*")
	switch {
	case aPrefix && bPrefix:
		return cmp.Or(cmp.Compare(len(bBase), len(aBase)), cmp.Compare(a, b))
	case aPrefix:
		return 1
	case bPrefix:
		return -1
	}
	return cmp.Compare(a, b)
}

// Fit says whether a route is for a host and for a path, and why or why not, for people.
type Fit struct {
	Host, Path       bool
	HostWhy, PathWhy string
}

// Fit holds the route against a request's Host and path, both as Match takes them. Match gives the most
// specific route that both fit.
func (r *RouteConfig) Fit(host, path string) Fit {
	var f Fit
	name := string(normalHost(make([]byte, 0, maxHostLength), []byte(host)))
	f.Host, f.HostWhy = fitHost(r.Host, name)
	f.Path, f.PathWhy = fitPath(cmp.Or(r.Path, "/*"), path)
	return f
}

func fitHost(pattern, name string) (bool, string) {
	suffix, wildcard := strings.CutPrefix(pattern, "*")
	switch {
	case pattern == "":
		return true, "any host"
	case !wildcard && name == pattern:
		return true, "exactly this host"
	case wildcard && len(name) > len(suffix) && strings.HasSuffix(name, suffix):
		return true, "a host below " + suffix[1:]
	case wildcard && name == suffix[1:]:
		return false, pattern + " is for hosts below " + name + ", not for itself"
	case !wildcard && strings.HasSuffix(name, "."+pattern):
		return false, pattern + " is for itself, not for hosts below; *." + pattern + " is for these"
	}
	return false, "is for another host"
}

func fitPath(pattern, path string) (bool, string) {
	base, isPrefix := strings.CutSuffix(pattern, "/*")
	switch {
	case !strings.HasPrefix(path, "/"):
		return false, "a path begins with /"
	case hasDotSegment([]byte(path)):
		return false, "a path with a . or .. segment, however it is written, has no route"
	case pattern == "/*":
		return true, "every path"
	case !isPrefix && path == pattern:
		return true, "exactly this path"
	case isPrefix && (path == base || strings.HasPrefix(path, base+"/")):
		return true, "a path of " + pattern
	case strings.EqualFold(path, pattern), isPrefix && len(path) >= len(base) && strings.EqualFold(path[:len(base)], base) && path[:len(base)] != base:
		return false, "differs in upper and lower case"
	case isPrefix && strings.HasPrefix(path, base):
		return false, pattern + " is for " + base + " and what is below it, after a /"
	case !isPrefix && strings.HasPrefix(path, strings.TrimSuffix(pattern, "/")+"/"):
		return false, pattern + " is this path alone; " + strings.TrimSuffix(pattern, "/") + "/* is for what is below, too"
	case strings.Trim(path, "/") == strings.Trim(pattern, "/"):
		return false, "differs in slashes"
	}
	return false, "is for another path"
}
