package manifest

import "k8s.io/apimachinery/pkg/util/validation/field"

type crd struct{ kind string }

func newCRD(kind string) *crd { return &crd{kind: kind} }

func (c *crd) setDefaults(tree map[string]any)              {}
func (c *crd) validate(tree map[string]any) field.ErrorList { return nil }
