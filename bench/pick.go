package bench

// picker returns the function that tells the worker which object to load next,
// from 0 to Options.Objects-1.
func picker(b *base) func() int {
	rnd, n := b.rnd, b.o.Objects
	switch b.o.Pick {
	case Hot:
		hot := min(b.o.HotSet, n)
		return func() int { return rnd.IntN(hot) }
	case Cold:
		return scatter(n, b.n, b.o.Connections)
	}
	return func() int { return rnd.IntN(n) }
}

// scatter returns a function that walks through 0 to n-1 in long strides. Of all
// walkers together each number has its turn once before any has it again.
func scatter(n, walker, walkers int) func() int {
	stride := uint64(float64(n)*0.618) | 1
	for gcd(stride, uint64(n)) != 1 {
		stride += 2
	}
	at := uint64(walker)
	return func() int {
		i := at % uint64(n) * stride % uint64(n)
		at += uint64(walkers)
		return int(i)
	}
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
