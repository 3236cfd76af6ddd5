package plan

func (b *builder) checkFilter() error { return nil }
