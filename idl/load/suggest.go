package load

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// didYouMean returns a question that names the candidate closest to what was written, or "" where none is close. The
// format has one %s for the candidate.
func didYouMean(written string, candidates []string, format string) string {
	best := nearest(written, candidates)
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean "+format+"?", best)
}

// nearest returns the candidate that takes the fewest edits to reach, at most a third of its length; of equals the first in
// alphabetical order.
func nearest(written string, candidates []string) string {
	best, least := "", len(written)/3+1
	sorted := slices.Clone(candidates)
	slices.Sort(sorted)
	for _, c := range sorted {
		if abs(len(c)-len(written)) >= least {
			continue
		}
		if n := edits(strings.ToLower(written), strings.ToLower(c)); n < least && c != written {
			best, least = c, n
		}
	}
	return best
}

func abs(n int) int { return max(n, -n) }

// edits counts the bytes to insert, delete, replace or swap with their neighbour to get from a to b.
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// namesBeside returns the .proto files that stand, in any root, in the directory that name is in.
func (d *disk) namesBeside(name string) []string {
	if d.readFile != nil {
		return nil
	}
	var names []string
	dir := path.Dir(name)
	for _, r := range d.roots {
		entries, err := os.ReadDir(filepath.Join(r.dir, filepath.FromSlash(dir)))
		if err != nil {
			continue
		}
		for _, e := range entries {
			if !e.IsDir() && path.Ext(e.Name()) == ".proto" {
				names = append(names, path.Join(dir, e.Name()))
			}
		}
	}
	return names
}
