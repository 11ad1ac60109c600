package sysdump

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// secretFields are fields of Envoy's messages and of others whose values are
// secret, in both of protobuf's spellings; without underscores and in lower
// case. Those that end in secretEndings are, too.
var secretFields = map[string]bool{
	"privatekey": true, "genericsecret": true, "sessionticketkeys": true, "token": true, "tokensecret": true,
	"hmacsecret": true, "clientsecret": true, "privatekeyprovider": true, "inlinebytes": true, "apikey": true,
	"users": true, // who may ask, with their passwords
}

var secretEndings = []string{"password", "passphrase"}

// secretHeaders are headers by whose values somebody is let in. In {name, value},
// as HTTPRoutes and environments have it, and in Envoy's {key, value} and matchers,
// headerFields say what the header is.
var (
	secretHeaders = map[string]bool{
		"authorization": true, "proxy-authorization": true, "cookie": true, "set-cookie": true,
		"x-api-key": true, "api-key": true, "apikey": true, "x-auth-token": true, "x-csrf-token": true,
	}
	headerFields = map[string]bool{
		"value": true, "rawvalue": true, "stringmatch": true, "exactmatch": true, "saferegexmatch": true,
		"prefixmatch": true, "suffixmatch": true, "containsmatch": true,
	}
)

// isSecretHeader tells of a message whether it says what a secret header is.
func isSecretHeader(message map[string]any) bool {
	for _, field := range []string{"name", "key"} {
		if name, _ := message[field].(string); secretHeaders[strings.ToLower(name)] {
			return true
		}
	}
	return false
}

func isSecret(field string) bool {
	return secretFields[field] || slices.ContainsFunc(secretEndings, func(end string) bool { return strings.HasSuffix(field, end) })
}

// redactObjects takes secrets out of an object, or a list of some: of metadata, if
// it is of Secrets.
func redactObjects(tree any) any {
	o, ok := tree.(map[string]any)
	if !ok {
		return tree
	}
	items, isList := o["items"].([]any)
	if !isList {
		return redactObject(o, false)
	}
	for i, item := range items {
		if one, ok := item.(map[string]any); ok {
			items[i] = redactObject(one, o["kind"] == "PartialObjectMetadataList")
		}
	}
	return o
}

func redactObject(o map[string]any, secret bool) map[string]any {
	meta, _ := o["metadata"].(map[string]any)
	delete(meta, "managedFields")
	if annotations, ok := meta["annotations"].(map[string]any); ok {
		// A copy of the whole object, in the form of a text.
		delete(annotations, "kubectl.kubernetes.io/last-applied-configuration")
	}
	if secret {
		delete(meta, "annotations")
	}
	return redact(o).(map[string]any)
}

// redact replaces values of secret fields and headers, of containers' environments,
// and private keys wherever they stand.
func redact(tree any) any {
	switch v := tree.(type) {
	case map[string]any:
		header := isSecretHeader(v)
		for name, value := range v {
			switch word := strings.ToLower(strings.ReplaceAll(name, "_", "")); {
			case isSecret(word), header && headerFields[word]:
				v[name] = blank(value)
			case word == "env":
				v[name] = withoutValues(value)
			default:
				v[name] = redact(value)
			}
		}
	case []any:
		for i := range v {
			v[i] = redact(v[i])
		}
	case string:
		return string(redactText([]byte(v)))
	}
	return tree
}

// withoutValues leaves the names of an environment.
func withoutValues(env any) any {
	list, ok := env.([]any)
	if !ok {
		return redact(env)
	}
	for _, one := range list {
		if variable, ok := one.(map[string]any); ok && variable["value"] != nil {
			variable["value"] = blank(variable["value"])
		}
	}
	return list
}

// blank keeps the shape of a value and how long its texts are.
func blank(tree any) any {
	switch v := tree.(type) {
	case map[string]any:
		for name := range v {
			v[name] = blank(v[name])
		}
	case []any:
		for i := range v {
			v[i] = blank(v[i])
		}
	case string:
		return fmt.Sprintf("(redacted, %d bytes)", len(v))
	}
	return tree
}

// privateKey is one in PEM, as it is, with its line ends escaped, or cut off;
// packedKey is one in base64, which begins in one of three ways; jsonKey is a
// secret part of a JSON Web Key, RFC 7518.
var (
	privateKey = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`)
	packedKey  = regexp.MustCompile(`LS0tLS1CRUdJTi[A-Za-z0-9+/=_-]*`)
	jsonKey    = regexp.MustCompile(`("(?:k|d|p|q|dp|dq|qi)\\?"\s*:\s*\\?")[A-Za-z0-9_=-]{16,}`)
)

// redactAnswer takes secrets out of what a program has said: of JSON, such as
// Envoy's configuration, by their fields' names, too. JSON that was cut off is
// not given: its fields cannot be told apart.
func redactAnswer(text []byte) ([]byte, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return redactText(text), nil
	}
	var tree any
	numbers := json.NewDecoder(bytes.NewReader(text))
	numbers.UseNumber() // those of 64 bits are no floats
	if err := numbers.Decode(&tree); err != nil {
		return nil, fmt.Errorf("read the answer as JSON: %w", err)
	}
	if numbers.More() {
		return nil, errors.New("read the answer as JSON: more follows it")
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(redact(tree)); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// redactText takes private keys out of a text. What is PEM in base64 goes, even
// if it is a certificate.
func redactText(text []byte) []byte {
	text = privateKey.ReplaceAll(text, []byte("(redacted: private key)"))
	text = packedKey.ReplaceAll(text, []byte("(redacted: PEM in base64)"))
	return jsonKey.ReplaceAll(text, []byte("${1}(redacted)"))
}
