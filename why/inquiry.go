package why

// Options bound an Inquiry.
type Options struct {
	NoRun bool // no experiments
	Max   int  // at most so many runs; 0: 12
}

// An Inquiry finds out by experiment what a program was refused for, and says which one to
// carry out next. It is a value that is told outcomes; it runs nothing:
//
//	q := why.Begin(scene, first, why.Options{})
//	for x, ok := q.Next(); ok; x, ok = q.Next() {
//		q.Tell(x, lab.Try(x))
//	}
//	fmt.Print(q.Explain().Text("en"))
type Inquiry struct {
	scene   Scene
	first   Outcome
	opt     Options
	answers []Answer
	tried   []Tried
}
