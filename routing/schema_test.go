package routing

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// beyondSchema are the files that the decoder refuses and the schema does not, each with what no schema
// can know.
var beyondSchema = map[string]string{
	"bad/backend-twice.yaml":     "two items mean the same backend",
	"bad/header-rules-long.yaml": "a value's length counts in bytes, and once its variables are replaced",
	"bad/include-none.yaml":      "what there is in a folder",
	"bad/include-twice.yaml":     "routes are there twice, in several files",
	"bad/routes-twice.yaml":      "routes are there twice, written differently",
	"bad/second-document.yaml":   "a schema is held against one document",
	"bad/uri-size.yaml":          "one key bounds another",
}

func TestSchemaAgreesWithTheDecoder(t *testing.T) {
	t.Setenv("WSPROXY_TEST_PORT", "8080")
	t.Setenv("WSPROXY_TEST_TEXT", "text")
	t.Setenv("WSPROXY_TEST_SECRET", "hunter2")
	schema := compile(t, Schema())
	files := append(append(configs(t, "good"), configs(t, "bad")...), "../proxy.yaml")
	unused := maps.Clone(beyondSchema)
	for _, file := range files {
		name := strings.TrimPrefix(file, testdata)
		_, refused := Load(file)
		rejected := validate(t, schema, file)
		reason, beyond := beyondSchema[name]
		delete(unused, name)
		switch {
		case refused == nil && rejected != nil:
			t.Errorf("%s: the decoder accepts what the schema refuses: %v", name, rejected)
		case refused != nil && rejected == nil && !beyond:
			t.Errorf("%s: the schema accepts what the decoder refuses: %v", name, refused)
		case beyond && rejected != nil:
			t.Errorf("%s is listed because %q, but the schema refuses it: %v", name, reason, rejected)
		}
	}
	for name := range unused {
		t.Errorf("%s is listed, but not there", name)
	}
}

func TestSchemaOfIncludedFiles(t *testing.T) {
	schema := compile(t, IncludedSchema())
	for file, accepted := range map[string]bool{
		"good/include.d/list.yaml": true, "good/include.d/mapping.yml": true, "good/more.d/routes.conf": true,
		"bad/include-twice.d/two.yaml": true, // what is twice is not seen
		"bad/include.d/a-list.yaml":    false, "bad/include.d/b-mapping.yaml": false, "bad/include.d/c-empty.yaml": false,
		"bad/include.d/d-text.yaml": false, "bad/include.d/f-no-routes.yaml": false, "good/short.yaml": false,
	} {
		if err := validate(t, schema, testdata+file); (err == nil) != accepted {
			t.Errorf("%s: %v, want accepted %v", file, err, accepted)
		}
	}
}

// TestSchemaHasWhatEditorsShow: each key has a description, and all that is said to be a default is
// one, in proxy.yaml, too.
func TestSchemaHasWhatEditorsShow(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../proxy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	properties := propertiesOf(root, "")
	var keys []string
	for key, p := range properties {
		keys = append(keys, key)
		text, _ := p["description"].(string)
		if len(text) < 10 || !strings.HasSuffix(text, ".") {
			t.Errorf("%s has no description; write one beside the others in schema_text.go", key)
		}
		constrained := false
		for _, word := range []string{"type", "anyOf", "enum", "properties"} {
			constrained = constrained || p[word] != nil
		}
		if items, isList := p["items"]; !constrained || p["type"] == "array" && (!isList || len(items.(map[string]any)) == 0) {
			t.Errorf("%s may be anything; say beside its description what may stand there", key)
		}
		preset, ok := p["default"]
		if !ok {
			continue
		}
		// "*" and the like stand in quotes there, and a minute is written as 60s.
		name := key[strings.LastIndexByte(key, '.')+1:]
		said := regexp.QuoteMeta(strings.Trim(jsonText(t, preset), `"`))
		written := regexp.MustCompile(`(?m)^ *#? *` + name + `: "?` + strings.Replace(said, "1m", "(1m|60s)", 1) + `"?$`)
		if !written.Match(example) {
			t.Errorf("%s is %v by default, but proxy.yaml does not say so", key, preset)
		}
	}
	want := slices.Compact(slices.Sorted(slices.Values(topKeys.keys(""))))
	if slices.Sort(keys); !slices.Equal(keys, want) {
		t.Errorf("the schema has the keys\n%q, the decoder\n%q", keys, want)
	}
}

// TestDescriptionsAreOfKeys: none is left of a key that has gone.
func TestDescriptionsAreOfKeys(t *testing.T) {
	known := make(map[string]bool)
	for _, names := range [][]string{
		described(topKeys), described(listenerKeys), described(tlsKeys), described(acmeKeys), described(certificateKeys),
		described(routeKeys), described(backendKeys), described(backendTLSKeys), described(headerKeys), described(poolKeys),
		described(hashKeys), described(stickyKeys), described(queueKeys), described(drainKeys), described(rebalanceKeys),
		described(webSocketKeys), described(healthKeys), described(passiveKeys), described(timeoutKeys), described(limitKeys), described(routeLimitKeys),
		described(logKeys),
	} {
		for _, name := range names {
			known[name] = true
		}
	}
	for name := range descriptions {
		if !known[name] {
			t.Errorf("a description is of %s, which is no key; a mapping that is new belongs into this test", name)
		}
	}
}

func described[T any](s schema[T]) []string {
	var names []string
	for _, f := range s {
		names = append(names, describedAs[T](f.key))
	}
	return names
}

func TestSchemaIsTheSameEveryTime(t *testing.T) {
	if a, b := Schema(), Schema(); !bytes.Equal(a, b) {
		t.Error("two schemas differ")
	}
}

func compile(t *testing.T, text []byte) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// validate holds a file against a schema as an editor does: aliases and merge keys resolved, variables
// as they stand there.
func validate(t *testing.T, schema *jsonschema.Schema, file string) error {
	t.Helper()
	data, err := os.ReadFile(filepath.FromSlash(file))
	if err != nil {
		t.Fatal(err)
	}
	var document any
	if err := yaml.Unmarshal(data, &document); err != nil {
		return err
	}
	text, err := json.Marshal(document)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// propertiesOf are all properties below a schema, by paths like the decoder's.
func propertiesOf(schema map[string]any, prefix string) map[string]map[string]any {
	found := make(map[string]map[string]any)
	properties, _ := schema["properties"].(map[string]any)
	for key, p := range properties {
		at := strings.TrimPrefix(prefix+"."+key, ".")
		found[at] = p.(map[string]any)
		maps.Copy(found, propertiesOf(found[at], at))
	}
	if items, ok := schema["items"].(map[string]any); ok {
		maps.Copy(found, propertiesOf(items, prefix+"[]"))
	}
	shapes, _ := schema["anyOf"].([]any)
	for _, s := range shapes {
		maps.Copy(found, propertiesOf(s.(map[string]any), prefix))
	}
	return found
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestSettingsAreThoseOfTheFile: what the file says differently, and nothing else, is changed, and
// written so that the decoder reads the same.
func TestSettingsAreThoseOfTheFile(t *testing.T) {
	cfg, err := Load(testdata + "good/all-keys.yaml")
	if err != nil {
		t.Fatal(err)
	}
	again := *cfg
	again.Timeouts, again.Limits, again.GracePeriod, again.Engine, again.Loops, again.Log, again.Forwarded = Timeouts{}, Limits{}, 0, "", 0, Log{}, false
	again.Drain = Drain{}
	d := &decoder{}
	for _, s := range cfg.Settings() {
		if s.Value == "" {
			continue
		}
		var root yaml.Node
		text := s.Value
		for _, key := range slices.Backward(strings.Split(s.Key, ".")) {
			text = "{" + key + ": " + text + "}"
		}
		if err := yaml.Unmarshal([]byte(text), &root); err != nil {
			t.Fatal(err)
		}
		topKeys.mapping(d, value{node: root.Content[0]}, "", &again)
	}
	if len(d.faults) > 0 || !reflect.DeepEqual(*cfg, again) {
		t.Errorf("settings %+v\nread as %+v, %v\nwant %+v", cfg.Settings(), again, d.faults, *cfg)
	}
	short, err := Load(testdata + "good/short.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range slices.Concat(short.Settings(), short.Routes[0].Settings(), short.Routes[0].Backends[0].Settings()) {
		if s.Changed() {
			t.Errorf("%+v differs from its default in a file that sets nothing", s)
		}
	}
}
