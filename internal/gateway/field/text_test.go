package field

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestQuotedIsShortAndPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"a":                                 `"a"`,
		"a\r\nb\x00":                        `"a\r\nb\x00"`,
		strings.Repeat("x", 80):             `"` + strings.Repeat("x", 80) + `"`,
		strings.Repeat("x", 81):             `"` + strings.Repeat("x", 80) + `"…`,
		strings.Repeat("x", 79) + "世" + "x": `"` + strings.Repeat("x", 79) + `"…`,
	} {
		if got := Quoted(in); got != want {
			t.Errorf("Quoted(%q) = %s, want %s", in, got, want)
		}
	}
	if got := Quoted(strings.Repeat("\xff", 100)); !utf8.ValidString(got) {
		t.Errorf("%s is no UTF-8", got)
	}
}

func TestJoin(t *testing.T) {
	if p := Join(nil); !p.OK() {
		t.Errorf("nothing joins to %+v", p)
	}
	ten := make([]Problem, 10)
	for i := range ten {
		ten[i] = New("Reason", "%d", i)
	}
	if got, want := Join(ten), New("Reason", "0; 1; 2; 3; 4; 5; 6; 7; and 2 more"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"0s": 0, "10s": 10 * time.Second, "1m30s": 90 * time.Second, "500ms": 500 * time.Millisecond,
		"1h2m3s4ms": time.Hour + 2*time.Minute + 3*time.Second + 4*time.Millisecond, "99999h": 99999 * time.Hour,
	} {
		if got, ok := Duration(in); !ok || got != want {
			t.Errorf("Duration(%q) = %s, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "0", "s", "1.5s", "-1s", "+1s", "1us", "1ns", "1 s", "100000s", "1s1s1s1s1s", "1d", "1sm", "١s"} {
		if got, ok := Duration(in); ok {
			t.Errorf("Duration(%q) = %s", in, got)
		}
	}
}

func TestNormalOrigin(t *testing.T) {
	for in, want := range map[string]string{
		"*": "*", "https://*": "https://*", "HTTPS://A.example.com:443": "https://a.example.com", "http://a:80": "http://a",
		"http://a:443": "http://a:443", "https://*.a.com:8443": "https://*.a.com:8443",
	} {
		if got, ok := NormalOrigin(in); !ok || got != want {
			t.Errorf("NormalOrigin(%q) = %q, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "a", "://a", "ftp://a", "https://", "https://a/", "https://a:", "https://a:0", "https://a:65536", "https://a.*.b", "https://a\r\n", "null"} {
		if got, ok := NormalOrigin(in); ok {
			t.Errorf("NormalOrigin(%q) = %q", in, got)
		}
	}
}

func TestValidPathCharacters(t *testing.T) {
	for in, want := range map[string]bool{
		"/a/b-c._~!$&'()*+,;=:@%20": true,
		"/a b":                      false, "/a?b": false, "/a#b": false, "/%": false, "/%2": false, "/%zz": false, "/é": false, "/a\x00": false, "/[a]": false,
	} {
		if got := ValidPathCharacters(in); got != want {
			t.Errorf("ValidPathCharacters(%q) = %v", in, got)
		}
	}
}
