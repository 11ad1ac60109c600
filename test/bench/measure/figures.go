package measure

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Figures are repetitions of one measurement.
type Figures []float64

// Milliseconds makes figures of durations.
func Milliseconds(all []time.Duration) Figures {
	f := make(Figures, len(all))
	for i, d := range all {
		f[i] = float64(d) / float64(time.Millisecond)
	}
	return f
}

// Quantile is the value below which the share q of f lies, q from 0 to 1.
func (f Figures) Quantile(q float64) float64 {
	sorted := slices.Sorted(slices.Values(f))
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// Median is the middle.
func (f Figures) Median() float64 { return f.Quantile(0.5) }

// Max is the largest.
func (f Figures) Max() float64 { return slices.Max(f) }

// Mean is the average.
func (f Figures) Mean() float64 {
	sum := 0.0
	for _, x := range f {
		sum += x
	}
	return sum / float64(len(f))
}

// Range is "median [smallest–largest]".
func (f Figures) Range() string {
	return fmt.Sprintf("%.1f [%.1f–%.1f]", f.Median(), slices.Min(f), f.Max())
}

// Ratio is how much dearer one thing is than another, with the interval in
// which the true value lies with 95 % confidence.
type Ratio struct {
	Mean, Low, High float64
	Rounds          int
}

// RatioOf compares figures that were taken in pairs: f[i] and base[i] in one
// round. It is Student's interval of the mean of the logarithms of the
// rounds' ratios, so that twice as dear and half as dear weigh the same.
func RatioOf(f, base Figures) Ratio {
	n := len(f)
	logs := make(Figures, n)
	for i := range f {
		logs[i] = math.Log(f[i] / base[i])
	}
	mean, squares := logs.Mean(), 0.0
	for _, l := range logs {
		squares += (l - mean) * (l - mean)
	}
	half := student(n-1) * math.Sqrt(squares/float64(n-1)/float64(n))
	return Ratio{Mean: math.Exp(mean), Low: math.Exp(mean - half), High: math.Exp(mean + half), Rounds: n}
}

func (r Ratio) String() string { return fmt.Sprintf("%.3f [%.3f–%.3f]", r.Mean, r.Low, r.High) }

// student is the 97.5 % quantile of Student's distribution, by the expansion
// of Cornish and Fisher; right to three digits from 9 degrees on.
func student(degrees int) float64 {
	const z = 1.959964
	v := float64(degrees)
	return z + (math.Pow(z, 3)+z)/(4*v) +
		(5*math.Pow(z, 5)+16*math.Pow(z, 3)+3*z)/(96*v*v) +
		(3*math.Pow(z, 7)+19*math.Pow(z, 5)+17*math.Pow(z, 3)-15*z)/(384*v*v*v)
}
