// SPDX-License-Identifier: Apache-2.0

package mutation

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
)

// Mutant is one small change of a program.
type Mutant struct {
	// Number selects the mutant in the test binary, starting at 1.
	Number int
	// File is the name of the file, and Line the line.
	File string
	Line int
	// Code is the condition or the statement, on one line.
	Code string
	// Change is the change of the code.
	Change Change
}

// Change is the kind of a mutant's change.
type Change string

// The changes.
const (
	AlwaysTrue  Change = "is always true"
	AlwaysFalse Change = "is always false"
	OffByOne    Change = "is off by one"
	LeftOut     Change = "is left out"
)

func (m Mutant) String() string { return fmt.Sprintf("%s:%d: %s %s", m.File, m.Line, m.Code, m.Change) }

// Key identifies a mutant as long as its code stays the same, wherever it is in the file.
func (m Mutant) Key() string { return fmt.Sprintf("%s: %s %s", m.File, m.Code, m.Change) }

// support has the functions that the rewritten code calls. It becomes a file of the package under test.
const support = `package %s

import (
	"cmp"
	"os"
	"strconv"
	"sync"
)

var mutant, _ = strconv.Atoi(os.Getenv("` + envMutant + `"))

var mutantsSeen sync.Map

// mutantSeen notes in a file which mutants the tests come by.
func mutantSeen(number int) {
	if _, seen := mutantsSeen.LoadOrStore(number, true); seen {
		return
	}
	if file, err := os.OpenFile(os.Getenv("` + envSeen + `"), os.O_APPEND|os.O_WRONLY, 0); err == nil {
		file.WriteString(strconv.Itoa(number) + "\n")
		file.Close()
	}
}

// mutantIs is a condition: number makes it true, and number+1 false.
func mutantIs(number int, condition bool) bool {
	mutantSeen(number)
	mutantSeen(number+1)
	return (condition || mutant == number) && mutant != number+1
}

// mutantLess is a < b: number makes it a <= b.
func mutantLess[T cmp.Ordered](number int, a, b T) bool {
	mutantSeen(number)
	return a < b || mutant == number && a == b
}

// mutantAtMost is a <= b: number makes it a < b.
func mutantAtMost[T cmp.Ordered](number int, a, b T) bool {
	mutantSeen(number)
	return a < b || mutant != number && a == b
}

func mutantMore[T cmp.Ordered](number int, a, b T) bool { return mutantLess(number, b, a) }

func mutantAtLeast[T cmp.Ordered](number int, a, b T) bool { return mutantAtMost(number, b, a) }

// mutantKeeps reports whether a statement is there.
func mutantKeeps(number int) bool {
	mutantSeen(number)
	return mutant != number
}
`

// Rewrite returns a file's source with all its mutants, one of which can be selected at a time. It adds them to the
// given mutants, and continues their numbers.
func Rewrite(name string, source []byte, mutants []Mutant) ([]byte, []Mutant, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, nil, fmt.Errorf("parsing %s: %w", name, err)
	}
	r := &rewriter{
		fset: fset, name: name, source: source, mutants: mutants, before: map[int]string{}, after: map[int]string{},
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
			ast.Inspect(f.Body, r.visit)
		}
	}
	return r.result(), r.mutants, nil
}

type rewriter struct {
	fset    *token.FileSet
	name    string
	source  []byte
	mutants []Mutant
	// before and after are the insertions before the byte at an offset: first closing, then opening ones.
	before, after map[int]string
	operators     []operator
}

// operator is a comparison whose operator becomes a comma.
type operator struct{ from, to int }

func (r *rewriter) offset(p token.Pos) int { return r.fset.Position(p).Offset }

func (r *rewriter) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IfStmt:
		if !logsOnly(n) {
			r.condition(n.Cond, true, true)
		}
	case *ast.ForStmt:
		r.condition(n.Cond, false, true) // one without an end is no mutant
	case *ast.SwitchStmt:
		if n.Tag == nil {
			r.cases(n)
		}
	case *ast.BinaryExpr:
		if n.Op == token.LAND || n.Op == token.LOR {
			r.operands(n)
		}
	case *ast.BlockStmt:
		r.statements(n.List)
	case *ast.CaseClause:
		r.statements(n.Body)
	case *ast.CommClause:
		r.statements(n.Body)
	}
	return true
}

func (r *rewriter) cases(s *ast.SwitchStmt) {
	for _, c := range s.Body.List {
		for _, condition := range c.(*ast.CaseClause).List {
			r.condition(condition, true, true)
		}
	}
}

// operands creates the mutants of the operands of && and ||. If both operands would have the same mutant, only the
// first one gets it.
func (r *rewriter) operands(n *ast.BinaryExpr) {
	if n.Op == token.LAND {
		r.condition(n.X, true, true)
		r.condition(n.Y, true, false)
		return
	}
	r.condition(n.X, true, true)
	r.condition(n.Y, false, true)
}

// condition creates the mutants of a condition. Those of && and || are the mutants of their operands.
func (r *rewriter) condition(e ast.Expr, yes, no bool) {
	switch inner := ast.Unparen(e).(type) {
	case nil:
		return
	case *ast.BinaryExpr:
		if inner.Op == token.LAND || inner.Op == token.LOR {
			return
		}
		r.wrapCondition(e, yes, no)
		r.compare(inner)
	default:
		r.wrapCondition(e, yes, no)
	}
}

func (r *rewriter) wrapCondition(e ast.Expr, yes, no bool) {
	number := r.number()
	r.wrap(e, fmt.Sprintf("mutantIs(%d, ", number), ")")
	// Both numbers are used, whether or not the mutants are to be tried.
	r.add(e, AlwaysTrue, yes)
	r.add(e, AlwaysFalse, no)
}

// compare creates the mutants of a comparison's limit.
func (r *rewriter) compare(e *ast.BinaryExpr) {
	name, ok := map[token.Token]string{
		token.LSS: "mutantLess", token.LEQ: "mutantAtMost", token.GTR: "mutantMore", token.GEQ: "mutantAtLeast",
	}[e.Op]
	if !ok {
		return
	}
	r.wrap(e, fmt.Sprintf("%s(%d, ", name, r.number()), ")")
	at := r.offset(e.OpPos)
	r.operators = append(r.operators, operator{at, at + len(e.Op.String())})
	r.add(e, OffByOne, true)
}

func (r *rewriter) statements(list []ast.Stmt) {
	for _, s := range list {
		if !mayBeLeftOut(s) {
			continue
		}
		r.wrap(s, fmt.Sprintf("if mutantKeeps(%d) { ", r.number()), " }")
		r.add(s, LeftOut, true)
	}
}

// mayBeLeftOut reports whether the program compiles without a statement. It excludes logging and locking: no test
// checks the log, and the race detector checks locks.
func mayBeLeftOut(s ast.Stmt) bool {
	switch s := s.(type) {
	case *ast.AssignStmt:
		return s.Tok != token.DEFINE
	case *ast.IncDecStmt:
		return true
	case *ast.ExprStmt:
		return !calls(s, "Info", "Error") && !calls(s, "Lock", "Unlock", "RLock", "RUnlock")
	default:
		return false
	}
}

// logsOnly reports whether a condition only decides about a log line.
func logsOnly(s *ast.IfStmt) bool {
	return s.Else == nil && !slices.ContainsFunc(s.Body.List, func(s ast.Stmt) bool { return !calls(s, "Info", "Error") })
}

// calls reports whether a statement is a call of a method with one of the names.
func calls(s ast.Stmt, names ...string) bool {
	expression, ok := s.(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := expression.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	return ok && slices.Contains(names, selector.Sel.Name)
}

func (r *rewriter) number() int { return len(r.mutants) + 1 }

func (r *rewriter) add(n ast.Node, c Change, tried bool) {
	m := Mutant{Number: r.number(), File: r.name}
	if tried {
		at := r.fset.Position(n.Pos())
		code := string(r.source[at.Offset:r.offset(n.End())])
		m.Line, m.Code, m.Change = at.Line, strings.Join(strings.Fields(code), " "), c
	}
	r.mutants = append(r.mutants, m)
}

// wrap wraps a node in text. Nodes are visited from the outside in.
func (r *rewriter) wrap(n ast.Node, before, after string) {
	r.before[r.offset(n.Pos())] += before
	end := r.offset(n.End())
	r.after[end] = after + r.after[end]
}

func (r *rewriter) result() []byte {
	var out []byte
	commas := map[int]int{}
	for _, o := range r.operators {
		commas[o.from] = o.to
	}
	for i := 0; i <= len(r.source); i++ {
		out = append(out, r.after[i]...)
		out = append(out, r.before[i]...)
		if to, ok := commas[i]; ok {
			out = append(out, ',')
			i = to - 1
			continue
		}
		if i < len(r.source) {
			out = append(out, r.source[i])
		}
	}
	return out
}
