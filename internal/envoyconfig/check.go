package envoyconfig

import (
	"cmp"
	"fmt"
	"regexp/syntax"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	annotationspb "github.com/envoyproxy/go-control-plane/envoy/annotations"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// check judges whether the values of one resource make sense.
type check struct {
	*parser
	resource resource
}

func (c *check) problem(at, format string, args ...any) Problem {
	return Problem{Reason: ReasonInvalid, Field: c.resource.field(), Resource: c.resource.title(), At: at, Message: fmt.Sprintf(format, args...)}
}

func (c *check) wrong(at, format string, args ...any) {
	c.out.Problems = append(c.out.Problems, c.problem(at, format, args...))
}

// visit looks at a message on its way through the resource.
func (c *check) visit(m protoreflect.Message, at string, whole bool) {
	if whole {
		c.validate(m.Interface(), at)
	}
	c.deprecated(m, at)
	if f := checks[m.Descriptor().FullName()]; f != nil {
		f(c, m.Interface(), at)
	}
}

// validate asks Envoy's own rules for fields, which do not look into Anys.
func (c *check) validate(m proto.Message, at string) {
	v, ok := m.(interface{ ValidateAll() error })
	if !ok {
		return
	}
	err := v.ValidateAll()
	if err == nil {
		return
	}
	c.broken(err, m.ProtoReflect().Descriptor(), at, 0)
}

// fieldError is one error of the generated rules.
type fieldError interface {
	Field() string
	Reason() string
	Cause() error
}

// broken takes an error of the generated rules apart.
func (c *check) broken(err error, d protoreflect.MessageDescriptor, at string, depth int) {
	if all, ok := err.(interface{ AllErrors() []error }); ok {
		for _, e := range all.AllErrors() {
			c.broken(e, d, at, depth)
		}
		return
	}
	f, ok := err.(fieldError)
	if !ok || depth > 100 {
		c.wrong(at, "%s", err)
		return
	}
	name, inner := protoField(d, f.Field())
	here := strings.TrimPrefix(at+"."+name, ".")
	if f.Cause() != nil && inner != nil {
		c.broken(f.Cause(), inner, here, depth+1)
		return
	}
	if f.Reason() == "value length must be at least 1 runes" {
		if here != "name" { // of a resource without one it has been said
			c.wrong(here, "must not be empty")
		}
		return
	}
	c.wrong(here, "%s", f.Reason())
}

// protoField gives the proto's name of a field that Go calls "VirtualHosts[0]",
// and the type of its messages.
func protoField(d protoreflect.MessageDescriptor, goName string) (string, protoreflect.MessageDescriptor) {
	name, index, _ := strings.Cut(goName, "[")
	if index != "" {
		index = "[" + index
	}
	plain := strings.ToLower(name)
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		if strings.ReplaceAll(string(f.Name()), "_", "") != plain {
			continue
		}
		if f.IsMap() {
			return string(f.Name()) + index, f.MapValue().Message()
		}
		return string(f.Name()) + index, f.Message()
	}
	for i := range d.Oneofs().Len() {
		if o := d.Oneofs().Get(i); strings.ReplaceAll(string(o.Name()), "_", "") == plain {
			var all []string
			for j := range o.Fields().Len() {
				all = append(all, string(o.Fields().Get(j).Name()))
			}
			return strings.Join(all, "|"), nil
		}
	}
	return goName, nil
}

// deprecated warns of fields that Envoy will drop, and refuses those that it
// has dropped already.
func (c *check) deprecated(m protoreflect.Message, at string) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		options, ok := f.Options().(*descriptorpb.FieldOptions)
		if !ok || !m.Has(f) {
			continue
		}
		here := strings.TrimPrefix(at+"."+string(f.Name()), ".")
		switch {
		case proto.GetExtension(options, annotationspb.E_DisallowedByDefault).(bool):
			c.wrong(here, "is deprecated, and Envoy takes it no more")
		case options.GetDeprecated():
			c.out.Warnings = append(c.out.Warnings, c.problem(here, "is deprecated%s", since(options)))
		}
	}
}

func since(options *descriptorpb.FieldOptions) string {
	if v, _ := proto.GetExtension(options, annotationspb.E_DeprecatedAtMinorVersion).(string); v != "" {
		return " since Envoy's API " + v
	}
	return ""
}

// checkRegex reads an expression as Envoy does: RE2 and Go's are one syntax.
func checkRegex(text string) error {
	_, err := syntax.Parse(text, syntax.Perl)
	if e, ok := err.(*syntax.Error); ok {
		return fmt.Errorf("%s: %q", e.Code, clip(e.Expr))
	}
	return err
}

func (p *parser) nodeSelector() {
	if p.o.Spec.NodeSelector == nil {
		return
	}
	if _, err := metav1.LabelSelectorAsSelector(p.o.Spec.NodeSelector); err != nil {
		p.say(ReasonInvalid, "nodeSelector", "%s", cmp.Or(clip(err.Error()), "cannot be read"))
	}
}
