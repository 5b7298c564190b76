package bench

import "context"

// runSlowVoter measures commits twice: alone, and while one more connection
// keeps sitting between vote and finish.
func runSlowVoter(ctx context.Context, o *Options) (*Result, error) {
	res := newResult(SlowVoter, o)
	if err := slowVoter(ctx, o, res, "commit-alone", 0); err != nil {
		return nil, err
	}
	if err := slowVoter(ctx, o, res, "commit", 1); err != nil {
		return nil, err
	}
	return res, nil
}

// slowVoter measures commits with a number of stalling connections beside, whose
// own commits are not counted.
func slowVoter(ctx context.Context, o *Options, res *Result, name string, stalling int) error {
	r := newRun(o)
	if err := r.connect(ctx, o.Connections, false, newCommitter); err != nil {
		return err
	}
	err := r.connect(ctx, stalling, false, func(b base) worker {
		return &committer{base: b, stall: o.Stall}
	})
	if err != nil {
		return err
	}
	r.measure(ctx, o.Warmup, o.Duration)
	var t tally
	for _, w := range r.workers {
		own := w.common().tally
		if w.common().n >= o.Connections {
			own.done[opCommit] = Histogram{}
		}
		t.merge(&own)
	}
	r.report(res, &t)
	if t.done[opCommit].Count() > 0 {
		res.Measures[len(res.Measures)-1].Name = name
	}
	return nil
}
