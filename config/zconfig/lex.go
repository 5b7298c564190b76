package zconfig

import (
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

func isSpace(r rune) bool { return unicode.IsSpace(r) }

func notInWord(r rune) bool { return isSpace(r) || r == '(' || r == ')' }

// cutWord cuts a key or type off the front: all up to white space or a
// parenthesis. The rest begins with no white space.
func cutWord(s string) (word, rest string) {
	i := strings.IndexFunc(s, notInWord)
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeftFunc(s[i:], isSpace)
}

// abridge shortens what is quoted in a message.
func abridge(s string) string {
	const longest = 60
	if r := []rune(s); len(r) > longest {
		return string(r[:longest]) + "..."
	}
	return s
}

// urlScheme matches the schemes of URLs, which have at least two letters: one is
// the drive of a Windows path.
var urlScheme = regexp.MustCompile(`^[a-zA-Z][-+.a-zA-Z0-9]+:`)

// resolve returns the path that an %include means.
func (f *file) resolve(arg string) (string, error) {
	name := arg
	if scheme := strings.ToLower(urlScheme.FindString(arg)); scheme != "" {
		u, err := url.Parse(arg)
		if scheme != "file:" || err != nil || u.Path == "" || u.Host != "" && u.Host != "localhost" {
			return "", f.hintf("write a path", "cannot include %q: only files can be included", abridge(arg))
		}
		name = u.Path
	}
	if strings.ContainsRune(name, 0) {
		return "", f.errorf("cannot include %q: the name has a null byte", abridge(arg))
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(f.name), name)
	}
	return filepath.Clean(name), nil
}
