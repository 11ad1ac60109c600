// Package crd does with objects what the API server does with those of a
// CustomResourceDefinition: it writes the defaults in, and validates them
// against the schema and its CEL rules, with the API server's own code. As
// that is slow, objects that are surely right are told by a faster walk.
//
// The schemas are the Gateway API's and our own, see crdgen.
package crd

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

//go:generate go run ./crdgen schemas

//go:embed schemas/*.json
var schemas embed.FS

// Schema is the schema of a kind. It reads and compiles when it is first used.
type Schema struct {
	kind string

	once       sync.Once // when the first object comes
	internal   apiextensions.JSONSchemaProps
	structural *structuralschema.Structural
	prover     *prover

	judging sync.Once // when the first object comes that is not proved right
	fields  validation.SchemaValidator
	rules   *cel.Validator
}

// New gives the schema of a kind: "HTTPRoute".
func New(kind string) *Schema { return &Schema{kind: kind} }

// load reads the schema, which is ours: an error in it is too.
func (c *Schema) load() {
	text, err := schemas.ReadFile("schemas/" + strings.ToLower(c.kind) + ".json")
	var external apiextensionsv1.JSONSchemaProps
	if err == nil {
		err = json.Unmarshal(text, &external)
	}
	if err == nil {
		err = apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&external, &c.internal, nil)
	}
	if err == nil {
		c.structural, err = structuralschema.NewStructural(&c.internal)
	}
	if err != nil {
		panic(fmt.Sprintf("crd: read schema of %s: %v", c.kind, err))
	}
	c.prover = newProver(c.structural)
}

// SetDefaults writes the kind's defaults into an object.
func (c *Schema) SetDefaults(tree map[string]any) {
	c.once.Do(c.load)
	defaulting.PruneNonNullableNullsWithoutDefaults(tree, c.structural)
	defaulting.Default(tree, c.structural)
}

// Validate says what is wrong with an object whose fields have the right
// types. Rules about what the object was before do not apply.
func (c *Schema) Validate(tree map[string]any) field.ErrorList {
	c.once.Do(c.load)
	if c.prover.proves(tree) {
		return nil
	}
	return c.judge(tree)
}

// judge is the API server's own validation.
func (c *Schema) judge(tree map[string]any) field.ErrorList {
	c.judging.Do(func() {
		var err error
		if c.fields, _, err = validation.NewSchemaValidator(&c.internal); err != nil {
			panic(fmt.Sprintf("crd: compile schema of %s: %v", c.kind, err))
		}
		c.rules = cel.NewValidator(c.structural, true, celconfig.PerCallLimit)
	})
	errs := validation.ValidateCustomResource(nil, tree, c.fields)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, c.structural, tree)...)
	if len(errs) > 0 {
		return errs // rules rely on the fields being as the schema has them
	}
	errs, _ = c.rules.Validate(context.Background(), nil, c.structural, tree, nil, celconfig.RuntimeCELCostBudget)
	return errs
}
