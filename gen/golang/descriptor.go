package golang

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// descriptor returns the code of the file's descriptor, for other implementations of protobuf. It is formatted already:
// the time that gofmt takes for a sum of strings grows with the square of their number.
func (w *printer) descriptor() string {
	var text strings.Builder
	fmt.Fprintf(&text, "\n// %s is the descriptor of %s, in the form of gzip.\n", descriptorName(w.file), w.file.Path)
	fmt.Fprintf(&text, "var %s = []byte(\"\"", descriptorName(w.file))
	for data := pack(w.file.Descriptor); len(data) > 0; {
		line := data[:min(len(data), lineLength(data))]
		data = data[len(line):]
		text.WriteString(" +\n\t")
		text.WriteString(strconv.QuoteToASCII(string(line)))
	}
	text.WriteString(")\n")
	return text.String()
}

// lineLength returns how much of data stands in one line: up to 80 bytes, which are more characters where they are
// not text, and no further than a line of it.
func lineLength(data []byte) int {
	const most = 80
	if i := strings.IndexByte(string(data[:min(len(data), most)]), '\n'); i >= 0 {
		return i + 1
	}
	return most
}

// pack returns data in the form of gzip, without compressing it: the bytes must be the same whoever generates them,
// and compressors change from one release of Go to the next. In source, plain bytes are shorter anyway.
func pack(data []byte) []byte {
	const (
		header    = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
		mostBlock = 1<<16 - 1
	)
	out := []byte(header)
	rest := data
	for last := false; !last; {
		block := rest[:min(len(rest), mostBlock)]
		rest = rest[len(block):]
		last = len(rest) == 0
		if last {
			out = append(out, 1)
		} else {
			out = append(out, 0)
		}
		out = binary.LittleEndian.AppendUint16(out, uint16(len(block)))
		out = binary.LittleEndian.AppendUint16(out, ^uint16(len(block)))
		out = append(out, block...)
	}
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(data))
	return binary.LittleEndian.AppendUint32(out, uint32(len(data)))
}
