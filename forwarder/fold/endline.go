package fold

// EndLine says that no more pieces of the line that pends will come. It is for sources that number the pieces of a line: where one is
// missing, the next line may have the time of the one before, and must not be taken for its rest.
func (s *Stream) EndLine(emit func(*Event)) {
	if s.piece.open() || s.piece.of != nil {
		s.complete(emit)
	}
}
