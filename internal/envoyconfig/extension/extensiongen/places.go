package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The comment of a field that takes an extension, as Envoy's protos have it,
// and what the tag of a Go field says of its name.
var (
	categoryComment = regexp.MustCompile(`\[#extension-category:\s*([^\]]*)\]`)
	nameInTag       = regexp.MustCompile(`protobuf:"[^"]*\bname=(\w+)`)
)

// places reads which fields take which category of extensions from the
// comments of the Go code, as descriptors have none.
func places(root string) ([]string, error) {
	var all []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "/v3") || !d.IsDir() {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		files, err := filepath.Glob(filepath.Join(path, "*.pb.go"))
		if err != nil {
			return err
		}
		for _, file := range files {
			found, err := placesIn(file, "envoy."+strings.ReplaceAll(filepath.ToSlash(relative), "/", "."))
			if err != nil {
				return err
			}
			all = append(all, found...)
		}
		return nil
	})
	slices.Sort(all)
	return slices.Compact(all), err
}

func placesIn(file, pkg string) ([]string, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, decl := range parsed.Decls {
		types, ok := decl.(*ast.GenDecl)
		if !ok || types.Tok != token.TYPE {
			continue
		}
		for _, spec := range types.Specs {
			if s, ok := spec.(*ast.TypeSpec).Type.(*ast.StructType); ok {
				out = append(out, placesOf(pkg, spec.(*ast.TypeSpec).Name.Name, s)...)
			}
		}
	}
	return out, nil
}

// placesOf gives "message field category …" for the fields of a struct, which
// is a message, or one alternative of a message's oneof.
func placesOf(pkg, name string, s *ast.StructType) (out []string) {
	message := pkg + "." + strings.ReplaceAll(name, "_", ".")
	if s.Fields.NumFields() == 1 {
		message = message[:strings.LastIndexByte(message, '.')]
	}
	for _, f := range s.Fields.List {
		categories := categoryComment.FindStringSubmatch(f.Doc.Text())
		if categories == nil || f.Tag == nil {
			continue
		}
		field := nameInTag.FindStringSubmatch(f.Tag.Value)
		if field == nil {
			continue
		}
		all := strings.FieldsFunc(categories[1], func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
		out = append(out, strings.Join(append([]string{message, field[1]}, all...), " ")+"\n")
	}
	return out
}
