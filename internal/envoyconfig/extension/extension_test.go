package extension

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// TestBinary asks the pinned Envoy again: what is committed must be what it
// says.
func TestBinary(t *testing.T) {
	envoy, err := filepath.Abs("../../../.tools/envoy")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "./extensiongen", envoy, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v (make tools fetches Envoy)\n%s", err, out)
	}
	for _, name := range []string{"extensions.txt", "places.txt", "linked.go"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != string(want) {
			t.Errorf("%s is not what the pinned Envoy says (make generate rewrites it): %v", name, err)
		}
	}
}

// TestLinked: every type can be decoded.
func TestLinked(t *testing.T) {
	if len(Types("")) < 350 {
		t.Errorf("only %d types", len(Types("")))
	}
	for _, name := range Types("") {
		_, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKnown(t *testing.T) {
	router := "envoy.extensions.filters.http.router.v3.Router"
	if got := Categories(router); !slices.Equal(got, []string{"envoy.filters.http"}) {
		t.Errorf("router is of %v", got)
	}
	if got := Named("envoy.filters.http", "envoy.filters.http.router"); !slices.Equal(got, []string{router}) {
		t.Errorf("router takes %v", got)
	}
	if got := Place("envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter", "typed_config"); !slices.Equal(got, []string{"envoy.filters.http"}) {
		t.Errorf("an HttpFilter takes %v", got)
	}
	for _, name := range []string{"envoy.filters.http.lua", "envoy.filters.http.fault"} {
		if !slices.Contains(Names("envoy.filters.http"), name) {
			t.Errorf("%s is missing", name)
		}
	}
}
