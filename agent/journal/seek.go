package journal

// Seek returns a place in a stream before every block that has a record of a
// wall time or later, as near to the first of them as is known without the
// disk: the beginning of a stretch within one file. It is the zero Pos where
// that is the beginning of the stream.
func (j *Journal) Seek(stream string, wall int64) Pos {
	k, ok := streamIndex(stream)
	if !ok {
		return Pos{}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var at Pos
	for _, e := range j.epochs {
		for _, r := range j.runs(e, k) {
			if r.wallTo >= wall {
				return at
			}
			at = Pos{e.id, r.last}
		}
	}
	return at
}
