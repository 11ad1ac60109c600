// Command crdgen copies the schemas of the Gateway API's kinds out of the
// Gateway API's Go module, and those of our own from our CRDs, as JSON without
// descriptions and statuses: one file a kind, in the directory that is its
// argument.
//
// The Gateway API's are those of the experimental channel, as the standard one lacks
// fields that are served (an HTTPRoute's retry) or refused by name (its
// session persistence).
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

const (
	module  = "sigs.k8s.io/gateway-api"
	channel = "experimental"
	ours    = "../../../chart/waggle/files/crds" // seen from where go generate runs
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: crdgen DIRECTORY")
	}
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		log.Fatalf("find module %s: %v", module, err)
	}
	for _, plural := range []string{"gatewayclasses", "gateways", "httproutes", "referencegrants"} {
		name := "gateway.networking.k8s.io_" + plural + ".yaml"
		if err := convert(filepath.Join(strings.TrimSpace(string(dir)), "config", "crd", channel, name), os.Args[1]); err != nil {
			log.Fatalf("convert %s: %v", name, err)
		}
	}
	for _, plural := range []string{"ciliumenvoyconfigs", "ciliumclusterwideenvoyconfigs", "ciliumgatewayclassconfigs"} {
		name := "cilium.io_" + plural + ".yaml"
		if err := convert(filepath.Join(ours, name), os.Args[1]); err != nil {
			log.Fatalf("convert %s: %v", name, err)
		}
	}
}

// convert writes the schema of one kind. Its versions must not differ.
func convert(from, directory string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &crd); err != nil {
		return err
	}
	var schema *apiextensionsv1.JSONSchemaProps
	for _, v := range crd.Spec.Versions {
		if !v.Served {
			continue
		}
		s := v.Schema.OpenAPIV3Schema
		delete(s.Properties, "status")
		strip(s)
		if schema != nil && !reflect.DeepEqual(schema, s) {
			return fmt.Errorf("version %s has a schema of its own", v.Name)
		}
		schema = s
	}
	out, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	to := filepath.Join(directory, strings.ToLower(crd.Spec.Names.Kind)+".json")
	return os.WriteFile(to, append(out, '\n'), 0o644)
}

// strip takes the descriptions out of a schema.
func strip(s *apiextensionsv1.JSONSchemaProps) {
	s.Description = ""
	for name, p := range s.Properties {
		strip(&p)
		s.Properties[name] = p
	}
	if s.Items != nil && s.Items.Schema != nil {
		strip(s.Items.Schema)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		strip(s.AdditionalProperties.Schema)
	}
	for _, list := range [][]apiextensionsv1.JSONSchemaProps{s.AllOf, s.AnyOf, s.OneOf} {
		for i := range list {
			strip(&list[i])
		}
	}
	if s.Not != nil {
		strip(s.Not)
	}
}
