package routing

// description is what a schema says of a key beyond what the field says itself.
type description struct {
	// text is for whoever points at the key in an editor: one or two sentences.
	text string

	// value is what may stand there, for a field that is decoded by a function of its own; item that of
	// an item, where it is a list, and for a list of mappings what may stand there instead of one.
	value, item shape

	// preset is the default, where no number or word that the field knows is it.
	preset string
}

// mappingRules are what goes for a mapping as a whole, by the type that it fills. The type is said
// where the mapping must not be empty.
var mappingRules = map[string]shape{
	"Config": {
		"type": "object", "required": []string{"listeners"}, "patternProperties": shape{"^x-": shape{}},
		"anyOf": []shape{{"required": []string{"routes"}}, {"required": []string{"include"}}},
	},
	"Listener": {"type": "object", "required": []string{"address"}},
	"TLS": {"type": "object", "oneOf": []shape{
		{"required": []string{"certificates"}}, {"required": []string{"self_signed"}}, {"required": []string{"acme"}},
	}},
	"ACME":             {"type": "object", "required": []string{"hosts", "cache"}},
	"CertificateFiles": {"type": "object", "required": []string{"cert", "key"}},
	"RouteConfig":      {"type": "object", "required": []string{"backends"}},
	"HashKey":          {"type": "object", "minProperties": 1, "maxProperties": 1},
	"backendEntry":     {"type": "object", "required": []string{"url"}},
	"BackendTLS":       {"dependentRequired": shape{"cert": []string{"key"}, "key": []string{"cert"}}},
}

// Values that several descriptions have.
var (
	fileShape = shape{"type": "string", "minLength": 1}
	nameShape = textShape(`^[^/\s]+$`)
	// An address or a network.
	networkShape = textShape(`^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$`)
	tokenShape   = textShape("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")
	// Values of headers by their names.
	fieldsShape = shape{
		"type": []string{"object", "null"}, "additionalProperties": shape{"type": "string"},
		"propertyNames": shape{"pattern": "^[-!#$%&'*+.^_`|~0-9A-Za-z]+$"},
	}
	statusShape  = oneOf(shape{"type": "integer", "minimum": 200, "maximum": 599}, textShape(`^[2-5][0-9]{2}(-[2-5][0-9]{2})?$`))
	backendShape = textShape(`^[A-Za-z][A-Za-z0-9+.-]*:.+$`)
)

// descriptions are by the type that a key fills and its name; each key has one. Longer ones are in the
// proxy.yaml at the top.
var descriptions = map[string]description{
	"Config.listeners": {text: "Where to listen, at least one address, each for WebSockets and plain HTTP alike."},
	"Config.routes":    {text: "Where requests go. The most specific route wins, whatever the order."},
	"Config.include": {
		text: "Folders of route files (*.yaml, *.yml), files or patterns such as routes.d/*.yaml, relative to this file.",
		value: shape{"anyOf": []shape{
			{"type": "string", "minLength": 1}, {"type": "array", "minItems": 1, "items": shape{"type": "string", "minLength": 1}},
		}},
	},
	"Config.trusted_proxies": {
		text: "The proxies in front of wsproxy, addresses and networks, whose word about a client is taken. Without: nobody's.",
		item: networkShape,
	},
	"Config.forwarded":    {text: "Whether backends are sent Forwarded (RFC 7239) beside X-Forwarded-For and its like."},
	"Config.timeouts":     {text: "How long a client may take."},
	"Config.limits":       {text: "Sizes and numbers that a client, or all of them, may come to."},
	"Config.drain":        {text: "How WebSockets are closed that cannot stay, when the configuration changes or a backend is drained."},
	"Config.control":      {text: "The socket on which wsproxy reload and the like ask the running proxy.", value: textShape(`^(auto|off|/.*)$`), preset: "auto"},
	"Drain.window":        {text: "The time over which they are closed, in random order, or off for all at once."},
	"Config.grace_period": {text: "After SIGTERM: how long requests and WebSockets may take to end."},
	"Config.engine":       {text: "Who carries the frames of WebSockets: epoll (Linux), goroutines, or auto, epoll where it can."},
	"Config.loops":        {text: "How many epoll loops, or auto for one for each CPU."},
	"Config.log":          {text: "What is logged, and how."},

	"Listener.address": {
		text:  `Where to listen: ":8080" for every address of this machine, host:port or "[ip]:port". Port 0 lets the system pick.`,
		value: textShape(`^([^:\[\]]*|\[[^\]]+\]):[0-9]+$`),
	},
	"Listener.tls":            {text: "With it the listener speaks wss:// and https://, without it ws:// and http://."},
	"Listener.redirect":       {text: "Send everything to https, on port 443 or e.g. https:8443; for a listener without tls.", value: textShape(`^https(:[0-9]+)?$`)},
	"Listener.allow":          {text: "Which clients to serve, addresses and networks; others get 403. deny wins over it.", item: networkShape},
	"Listener.deny":           {text: "Which clients not to serve, whatever allow says.", item: networkShape},
	"Listener.proxy_protocol": {text: "Whether connections from trusted_proxies begin with a PROXY protocol header, of version 1 or 2."},

	"TLS.certificates":    {text: "Certificates chosen by the name the client asks for, the first if by none."},
	"TLS.self_signed":     {text: "Names and addresses of a certificate that is made at every start. Browsers warn of it.", item: textShape(`^[^/\s]+$`)},
	"TLS.acme":            {text: "Certificates that are obtained and renewed by themselves; this accepts the CA's terms."},
	"TLS.min_version":     {text: "The oldest TLS to accept."},
	"TLS.curves":          {text: "The key exchanges to accept; their order means nothing.", item: wordShape(curveNames())},
	"TLS.alpn":            {text: "The protocols to accept of clients that name some, the most wanted first, or off for any. By default [http/1.1, http/1.0].", value: alpnShape()},
	"TLS.client_auth":     {text: "Whether clients show certificates: off, request (one that is shown must verify), or require."},
	"TLS.client_ca":       {text: "A PEM file of the CAs that vouch for clients, with client_auth.", value: fileShape},
	"TLS.session_tickets": {text: "Whether clients may resume a session with a ticket."},
	"TLS.ticket_keys":     {text: "A file of keys for tickets, one a line, 32 bytes in base64, to share between machines.", value: fileShape},

	"ACME.hosts":     {text: "The names to have certificates for, without wildcards.", item: nameShape},
	"ACME.email":     {text: "Where the CA may write to.", value: textShape(`^[^\s,<>]+@[^\s,<>]+$`)},
	"ACME.directory": {text: "The directory of another CA than Let's Encrypt.", value: textShape(`^[Hh][Tt][Tt][Pp][Ss]://.+$`)},
	"ACME.cache":     {text: "A folder where keys and certificates are kept, readable for wsproxy alone. It must outlive a restart.", value: fileShape},
	"ACME.ca":        {text: "A PEM file of the CAs that vouch for the directory's own certificate; the system's unless given.", value: fileShape},

	"CertificateFiles.cert": {text: "A PEM file with the certificate, then its chain.", value: fileShape},
	"CertificateFiles.key":  {text: "A PEM file with the private key.", value: fileShape},

	"RouteConfig.host": {
		text:  `The host of the URL, without port: "chat.example.com", "*.example.com" for every name below it, "*" for any.`,
		value: nameShape, preset: "*",
	},
	"RouteConfig.path": {
		text:  `"/chat" for this path alone, "/ws/*" for /ws and everything below it, "/*" for every path.`,
		value: textShape(`^(/[^*?#\s]*|(/[^*?#\s]*)?/\*)$`), preset: "/*",
	},
	"RouteConfig.backends": {
		text: "Who answers: http://host:port or ws://, https://host:port or wss://, builtin:echo, or a mapping with url.",
		item: backendShape,
	},
	"RouteConfig.balance": {
		text: "Who is picked among the backends that are up: round_robin, least_connections (the fewest open WebSockets), random_two, or hash.",
	},
	"RouteConfig.hash":       {text: "What balance: hash hashes: the same value goes to the same backend. Exactly one key is needed."},
	"RouteConfig.slow_start": {text: "For how long a backend that is new or up again gets less than its share. Not for balance: hash."},
	"RouteConfig.sticky":     {text: "A cookie that brings clients back to the backend they had, for as long as it is up."},
	"RouteConfig.max_links":  {text: "How many WebSockets each backend may have at most that says nothing else."},
	"RouteConfig.queue":      {text: "What becomes of a WebSocket when all backends have as many as they may."},
	"RouteConfig.host_header": {
		text:  "The Host a backend is sent: keep (the client's), backend (that of its URL), or a host to send.",
		value: oneOf(shape{"enum": []string{"keep", "backend"}}, textShape(`^[^/\s]+$`)), preset: "keep",
	},
	"RouteConfig.proxy_protocol": {text: "Whether each connection to a backend begins with a PROXY protocol header, which names the client."},
	"RouteConfig.http":           {text: "Whether plain requests are served, too. With off, all that is no WebSocket gets 426."},
	"RouteConfig.path_prefix": {
		text:  "What becomes of what stands before the path's /*: keep, strip, or a path to put in its place, such as /v2.",
		value: oneOf(shape{"enum": []string{"keep", "strip"}}, textShape(`^/[^?#*]*$`)), preset: "keep",
	},
	"RouteConfig.request_headers":   {text: "Changes to the headers of requests on their way to a backend."},
	"RouteConfig.response_headers":  {text: "Changes to the headers of answers on their way to the client."},
	"RouteConfig.dial_timeout":      {text: "How long connecting to a backend may take, the lookup of its name and TLS included."},
	"RouteConfig.handshake_timeout": {text: "How long a backend may take to answer an opening handshake."},
	"RouteConfig.response_timeout":  {text: "How long a backend may take to begin answering a plain request."},
	"RouteConfig.read_timeout":      {text: "How long a backend may pause within an answer, or off for as long as it likes."},
	"RouteConfig.pool":              {text: "Connections to a backend that are kept for the next plain request."},
	"RouteConfig.tls":               {text: "How backends of https:// are spoken to that have no tls of their own."},
	"RouteConfig.websocket":         {text: "What is asked of the WebSockets of this route."},

	"RouteConfig.origins": {
		text: "Which pages may open WebSockets: any, same (those of the host that the client asks for), or a list of origins.",
		value: oneOf(shape{"enum": []string{"any", "same"}}, shape{"type": "array", "minItems": 1,
			"items": textShape(`^(null|[A-Za-z][A-Za-z0-9+.-]*://[^/?#@\s]+/?)$`)}), preset: "any",
	},
	"RouteConfig.missing_origin": {text: "What becomes of handshakes without an Origin. Browsers always send one, programs seldom."},
	"RouteConfig.allow":          {text: "Which clients to serve, of those that the listener serves; others get 403. deny wins over it.", item: networkShape},
	"RouteConfig.deny":           {text: "Which clients not to serve, whatever allow says.", item: networkShape},
	"RouteConfig.limits":         {text: "Limits of this route, besides those for all together."},
	"RouteConfig.source_addresses": {
		text: "What connections to the backends come from, in turn: addresses of this machine. Without: what the system chooses.",
		item: textShape(`^[0-9A-Fa-f:.]+$`),
	},

	"backendEntry.url":       {text: "http://host:port or ws://, https://host:port or wss://, or builtin:echo.", value: backendShape},
	"backendEntry.weight":    {text: "Its share beside the others'."},
	"backendEntry.backup":    {text: "Whether it is used only when no other can be."},
	"backendEntry.drain":     {text: "Whether it is left alone, so that it can be taken away. The WebSockets it has are closed with 1012, over drain.window."},
	"backendEntry.max_links": {text: "How many WebSockets at most, those of other routes included; the route's max_links unless given."},
	"backendEntry.tls":       {text: "How this backend is spoken to, instead of the route's tls."},

	"HashKey.client_ip": {text: "Hash the address of the client."},
	"HashKey.header":    {text: "Hash the header of this name; without it, the address of the client.", value: tokenShape},
	"HashKey.cookie":    {text: "Hash the cookie of this name; without it, the address of the client.", value: tokenShape},
	"HashKey.query":     {text: "Hash the parameter of this name in the query; without it, the address of the client.", value: textShape(`^[^&=#\s]+$`)},
	"HashKey.path":      {text: "Hash the path."},

	"StickyConfig.cookie":    {text: "Its name. Routes that share a host need different ones, or different paths.", value: tokenShape, preset: "wsproxy"},
	"StickyConfig.path":      {text: "Clients send it below this path.", value: textShape(`^/[^;\s]*$`), preset: "/"},
	"StickyConfig.domain":    {text: "Clients send it to this domain and all hosts below it. Without: to the host they asked.", value: nameShape},
	"StickyConfig.secure":    {text: "Whether clients send it over TLS only: on, off, or auto, on where it was given over TLS."},
	"StickyConfig.http_only": {text: "Whether it is hidden from the scripts of pages."},
	"StickyConfig.same_site": {text: "Whether requests that come from pages of other sites have it."},
	"StickyConfig.max_age":   {text: "How long clients keep it, from 1s to 9600h, or off for until the browser is closed."},
	"StickyConfig.key": {
		text:  "What it is signed with, 16 bytes or more. Several wsproxy in front of the same backends need the same one.",
		value: oneOf(shape{"type": "string", "minLength": minKey}),
	},

	"Queue.size":    {text: "How many may wait for another to end, first come first served, or off for none."},
	"Queue.timeout": {text: "For how long."},

	"BackendTLS.ca":                   {text: "A PEM file of the CAs that vouch for the backend; the system's unless given.", value: fileShape},
	"BackendTLS.server_name":          {text: "The name that the backend's certificate must be for, unless it is the host of the URL.", value: nameShape},
	"BackendTLS.cert":                 {text: "A PEM file with the certificate to show to a backend that asks for one.", value: fileShape},
	"BackendTLS.key":                  {text: "A PEM file with the private key of cert.", value: fileShape},
	"BackendTLS.insecure_skip_verify": {text: "Take any certificate. Whoever is on the way can then read and change everything."},

	"HeaderRules.set":    {text: "Headers to write instead of all there are of their names. Values may have ${client_ip} and the like in them.", value: fieldsShape},
	"HeaderRules.add":    {text: "Headers to write behind those that are there.", value: fieldsShape},
	"HeaderRules.remove": {text: "Names of headers to leave out.", item: textShape("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")},

	"RouteConfig.health":          {text: "Ask the backends at intervals whether they work. Without this section nobody asks."},
	"RouteConfig.retries":         {text: "On how many other backends a request is tried whose dial or opening handshake fails, while its client has been sent nothing."},
	"RouteConfig.on_backend_down": {text: "What becomes of the WebSockets of a backend that goes down: keep, close at once, or pace, over drain.window. They are closed with 1014."},
	"RouteConfig.rebalance":       {text: "Have some WebSockets of the fullest backends come back when a backend has been added or is up again, so that it fills."},
	"Rebalance.share":             {text: "How much of the route's WebSockets is closed at most, in percent, with 1012."},
	"Rebalance.window":            {text: "The time over which they are closed."},
	"RouteConfig.passive":         {text: "Take a backend out for a while whose requests fail."},

	"HealthCheck.type": {
		text: "tcp, connecting and no more (the default); http, a request; or websocket, an opening handshake, a ping and a close.",
	},
	"HealthCheck.interval": {text: "How often, give or take a tenth.", preset: "5s"},
	"HealthCheck.timeout":  {text: "How long it may take in all.", preset: "2s"},
	"HealthCheck.rise":     {text: "After how many good answers in a row a backend is used again.", preset: "2"},
	"HealthCheck.fall":     {text: "After how many bad answers in a row a backend is not used any more.", preset: "3"},
	"HealthCheck.path":     {text: "What to ask for, / unless given; with http and websocket.", value: textShape(`^/[^#\s]*$`)},
	"HealthCheck.host":     {text: "The Host to send, that of the backend's URL unless given.", value: nameShape},
	"HealthCheck.headers": {
		text:  "Headers to send beside it, as they stand here.",
		value: shape{"type": "object", "additionalProperties": shape{"type": "string"}, "propertyNames": fieldsShape["propertyNames"]},
	},
	"HealthCheck.method": {text: "What to ask with; with http.", preset: "GET"},
	"HealthCheck.status": {
		text:  "The status codes that are good: one, a range, or a list of these; with http.",
		value: oneOf(shape{"type": "array", "minItems": 1, "items": statusShape}, statusShape), preset: "200-399",
	},
	"HealthCheck.body":        {text: "A text that must be found in the first 64 KiB of the answer's body; with http.", value: fileShape},
	"HealthCheck.subprotocol": {text: "What a backend must agree to; with websocket. None is offered unless given.", value: nameShape},

	"PassiveCheck.failures":    {text: "After how many failures in a row, or off for never."},
	"PassiveCheck.window":      {text: "Within how long these must come."},
	"PassiveCheck.pause":       {text: "How long the first pause is. While nothing succeeds, each is twice as long as the last."},
	"PassiveCheck.max_pause":   {text: "How long a pause may become."},
	"PassiveCheck.early_death": {text: "A WebSocket that the backend ends without a Close before it has become so old is a failure, too; or off."},

	"Pool.max_idle":     {text: "How many connections are kept at most for each backend, or off for none."},
	"Pool.idle_timeout": {text: "How long one is kept. Less than backends keep theirs: Node.js and Apache close after 5s."},

	"WebSocket.validate":      {text: "Refuse what breaks RFC 6455, with 1002."},
	"WebSocket.max_frame":     {text: "The largest frame, in either direction. A larger one is refused with 1009."},
	"WebSocket.max_message":   {text: "The largest message, in either direction. A larger one is refused with 1009."},
	"WebSocket.message_rate":  {text: "How many messages a second a client may send for long."},
	"WebSocket.message_burst": {text: "How many messages a client may send at once after a pause, or auto for as many as in a second."},
	"WebSocket.rate_backend":  {text: "Whether backends have to keep to message_rate, too."},
	"WebSocket.rate_excess":   {text: "What becomes of one that sends more: close, with 1008, or wait, in which case it is read no faster."},
	"WebSocket.ping_interval": {text: "After how much silence a client is sent a Ping."},
	"WebSocket.pong_timeout":  {text: "How long a client that was sent a Ping may then stay silent before it is given up."},
	"WebSocket.ping_backend":  {text: "Whether backends are sent Pings, too."},
	"WebSocket.idle_timeout":  {text: "Close with 1001 a WebSocket on which nothing passes for so long."},
	"WebSocket.max_age":       {text: "Close with 1001 a WebSocket that has become so old, up to a tenth sooner or later."},
	"WebSocket.stall_timeout": {text: "Give up a client or backend that takes nothing of what is sent to it."},

	"Timeouts.tls_handshake":  {text: "How long a client may take for its TLS handshake."},
	"Timeouts.request_header": {text: "How long a client may take to send the header of a request."},
	"Timeouts.request_body":   {text: "How long a client may pause within the body of a request, or off for as long as it likes."},
	"Timeouts.send":           {text: "How long a client may take nothing of an answer, or off for as long as it likes."},
	"Timeouts.keep_alive":     {text: "How long a connection of plain HTTP may wait for the next request."},

	"Limits.header_size":        {text: "The header of a request or of an answer, from 4KiB to 1MiB."},
	"Limits.header_fields":      {text: "How many header fields a request may have. One with more gets 431."},
	"Limits.uri_size":           {text: "The path and query of a request, from 64B to 1MiB, and within header_size. A longer one gets 414."},
	"Limits.header_underscores": {text: "Whether header names with _ are passed. With off, a request that has one gets 400."},
	"Limits.min_rate":           {text: "How many bytes a second a client must send of a request, on average and after the first five seconds."},
	"Limits.body_size":          {text: "The body of a plain request."},
	"Limits.tls_handshakes":     {text: "How many TLS handshakes are computed at a time, or auto for one less than there are CPUs."},

	"Limits.links":            {text: "How many WebSockets there may be at a time, or auto for what there are descriptors for. More get 503."},
	"Limits.handshakes":       {text: "How many opening handshakes may be under way at a time. More get 503."},
	"Limits.links_per_client": {text: "How many WebSockets a client may have at a time. More get 429."},
	"Limits.handshake_rate":   {text: "How many handshakes a second a client may make for long. More get 429."},
	"Limits.handshake_burst":  {text: "How many handshakes a client may make at once after a pause, or auto for as many as in a second."},
	"Limits.clients":          {text: "How many clients without a WebSocket are remembered for that, 200 bytes each at most."},

	"LinkLimits.links":            {text: "How many WebSockets of the route there may be at a time. More get 503."},
	"LinkLimits.handshakes":       {text: "How many opening handshakes may be under way at a time. More get 503."},
	"LinkLimits.links_per_client": {text: "How many WebSockets a client may have here at a time. More get 429."},
	"LinkLimits.handshake_rate":   {text: "How many handshakes a second a client may make here for long. More get 429."},
	"LinkLimits.handshake_burst":  {text: "How many handshakes a client may make here at once after a pause, or auto for as many as in a second."},

	"Log.level":  {text: "The least to log."},
	"Log.format": {text: "How log lines are written."},
}

func curveNames() []string {
	var names []string
	for _, c := range curves {
		names = append(names, c.word)
	}
	return names
}

func alpnShape() shape {
	return oneOf(shape{"type": "array", "minItems": 1, "items": shape{"type": "string", "minLength": 1}}, shape{"enum": []string{"off"}})
}
