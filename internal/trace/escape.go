package trace

import "unicode/utf8"

const hexDigits = "0123456789abcdef"

// AppendEscaped appends text from a stranger so that no terminal can take it
// for anything but text: printable ASCII as it is, all else as Go escapes.
// That covers control bytes of both sets (C0 and C1), direction overrides,
// invisible characters and invalid UTF-8. Quotes and backslashes are escaped
// too, so that the result reads back unambiguously between double quotes.
func AppendEscaped(dst, text []byte) []byte {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, '\\', 'x', hexDigits[text[0]>>4], hexDigits[text[0]&15])
		} else {
			dst = appendRune(dst, r)
		}
		text = text[size:]
	}
	return dst
}

func appendRune(dst []byte, r rune) []byte {
	switch {
	case r == '\r':
		return append(dst, `\r`...)
	case r == '\n':
		return append(dst, `\n`...)
	case r == '\t':
		return append(dst, `\t`...)
	case r == '"' || r == '\\':
		return append(dst, '\\', byte(r))
	case r >= ' ' && r < 0x7f:
		return append(dst, byte(r))
	case r < 0x80:
		return append(dst, '\\', 'x', hexDigits[r>>4], hexDigits[r&15])
	case r < 0x10000:
		return appendHex(append(dst, '\\', 'u'), r, 4)
	}
	return appendHex(append(dst, '\\', 'U'), r, 8)
}

func appendHex(dst []byte, r rune, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[r>>shift&15])
	}
	return dst
}

// appendSnippet appends text between double quotes in at most width columns;
// "..." after the closing quote says that there is more.
func appendSnippet(dst, text []byte, width int) []byte {
	const quotesAndMore = 5
	dst = append(dst, '"')
	start, rest := len(dst), text
	for len(rest) > 0 {
		_, size := utf8.DecodeRune(rest)
		before := len(dst)
		dst = AppendEscaped(dst, rest[:size])
		if len(dst)-start > width-quotesAndMore {
			return append(dst[:before], `"...`...)
		}
		rest = rest[size:]
	}
	return append(dst, '"')
}
