// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

const width, height = 16 * vg.Centimeter, 9 * vg.Centimeter

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	return p
}

// points returns the values of a unit, by a number in the names of benchmarks.
func (r results) points(format, unit string, numbers ...int) (plotter.XYs, error) {
	var xys plotter.XYs
	for _, n := range numbers {
		v, err := r.value("", fmt.Sprintf(format, n), unit)
		if err != nil {
			return nil, err
		}
		xys = append(xys, plotter.XY{X: float64(n), Y: v})
	}
	return xys, nil
}

// logMargin leaves room for the label of the last tick.
const logMargin = 1.3

func logarithmic(p *plot.Plot) {
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
}

func (r results) drawCalls(path string) error {
	p := newPlot("Calls to HNS in one pass", "endpoints of the node", "calls")
	logarithmic(p)
	numbers := []int{100, 1000, 5000, 20_000}
	all, err := r.points("Calls/way=list-all/endpoints=%d", "calls/pass", numbers...)
	if err != nil {
		return err
	}
	lines := []any{"listing everything", all}
	for _, d := range []int{100, 10, 1, 0} {
		some, err := r.points(fmt.Sprintf("Calls/way=hnsguard/endpoints=%%d/new=%d", d), "calls/pass", numbers...)
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("hnsguard, %d new", d), some)
	}
	if err := plotutil.AddLinePoints(p, lines...); err != nil {
		return err
	}
	p.X.Max *= logMargin
	return p.Save(width, height, path)
}

func (r results) drawMemory(path string) error {
	p := newPlot("Memory for a million slice addresses", "", "bytes per address")
	var values plotter.Values
	for _, keeper := range []string{"informer", "hnsguard"} {
		v, err := r.value("", "Memory/keeper="+keeper, "heap-B/address")
		if err != nil {
			return err
		}
		values = append(values, v)
	}
	bars, err := plotter.NewBarChart(values, 3*vg.Centimeter)
	if err != nil {
		return err
	}
	bars.Color = plotutil.Color(2)
	p.Add(bars)
	p.NominalX("an informer's cache", "hnsguard")
	p.X.Min, p.X.Max = p.X.Min-0.5, p.X.Max+0.5
	return p.Save(width, height, path)
}

func (r results) drawReaction(path string) error {
	p := newPlot("From a pod's own endpoint to the end of the stale one", "ms", "% of all cases")
	p.X.Min, p.Y.Min, p.Y.Max = 0, 0, 100
	var xys plotter.XYs
	for _, percent := range []int{10, 25, 50, 75, 90, 99} {
		v, err := r.value("", "Reaction", fmt.Sprintf("p%d-ms", percent))
		if err != nil {
			return err
		}
		xys = append(xys, plotter.XY{X: v, Y: float64(percent)})
	}
	if err := plotutil.AddLinePoints(p, "hnsguard, 5,000 endpoints", xys); err != nil {
		return err
	}
	return p.Save(width, height, path)
}

func (r results) drawUpdate(path string) error {
	p := newPlot("One endpoint of a slice changes", "endpoints of the slice", "processor time, µs")
	logarithmic(p)
	xys, err := r.points("Update/size=%d", "cpu-us/op", 10, 100, 1000)
	if err != nil {
		return err
	}
	if err := plotutil.AddLinePoints(p, xys); err != nil {
		return err
	}
	p.X.Max *= logMargin
	return p.Save(width, height, path)
}
