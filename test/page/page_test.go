// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp/kb"
	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	pictures "github.com/hnsguard/hnsguard/test/page"
)

const rows = `document.querySelectorAll("#rows > tr:not(.detail)")`

// column returns the texts of one column, from 1.
func (b *browser) column(n int) []string {
	b.t.Helper()
	return eval[[]string](b, fmt.Sprintf(`[...%s].map((row) => row.children[%d].innerText)`, rows, n-1))
}

// shown opens the page of a node after its story.
func shown(t *testing.T) (*node, *browser) {
	t.Helper()
	n := newNode(t)
	n.tell()
	n.serve()
	b := open(t, n.url())
	b.await(rows + ".length > 0")
	return n, b
}

// Invariant 1.
func TestThePageLoadsUnderItsPolicy(t *testing.T) {
	g := NewWithT(t)
	_, b := shown(t)
	g.Expect(b.complained()).To(BeEmpty())
	g.Expect(eval[string](b, "document.title")).To(Equal("win-1 · hnsguard"))
	g.Expect(eval[string](b, `document.getElementById("connection").innerText`)).To(HavePrefix("Live"))
	g.Expect(b.column(2)[0]).To(Equal("held"), "what needs attention comes first")
	text := eval[string](b, "document.body.innerText")
	for _, expected := range []string{
		"v1.32.3", "stale-record", "azure (L2Bridge)", "answers", "timeout", // the outage that is over
		"Removed", "The address was reused after 4.0 s", "The node could not be observed: timeout", "6 times since",
		"A running pod has lost its endpoint",
	} {
		g.Expect(text).To(ContainSubstring(expected))
	}

	// The lack of complaints is meaningful: the policy is in force, and blocked requests are reported.
	eval[any](b, `{
		const script = document.createElement("script");
		script.textContent = "document.title = 'owned'";
		document.body.append(script);
	}; 0`)
	g.Eventually(b.complained).Should(ContainElement(ContainSubstring("Content Security Policy")))
	g.Expect(eval[string](b, "document.title")).NotTo(Equal("owned"))
	eval[any](b, `fetch("http://example.invalid/").catch(() => {}); 0`)
	g.Eventually(b.complained).Should(ContainElement(ContainSubstring("Content Security Policy")))
}

func TestNamesAreText(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.attack("10.240.0.66")
	n.pass()
	n.serve()
	b := open(t, n.url())
	b.await(rows + ".length > 0")
	g.Expect(b.column(4)).To(ContainElement(ContainSubstring(hostile)))
	g.Expect(eval[string](b, `document.getElementById("history").innerText`)).To(ContainSubstring(hostile))
	g.Expect(eval[int](b, `document.querySelectorAll("img").length`)).To(BeZero())
	g.Expect(eval[string](b, "document.title")).To(Equal("win-1 · hnsguard"))
	g.Expect(b.complained()).To(BeEmpty())
}

// tabTo moves the focus with the keyboard until an expression about it is true.
func (b *browser) tabTo(condition string) {
	b.t.Helper()
	for range 60 {
		if eval[bool](b, fmt.Sprintf("((e) => Boolean(%s))(document.activeElement)", condition)) {
			if outline := eval[string](b, "getComputedStyle(document.activeElement).outlineStyle"); outline == "none" {
				b.t.Errorf("the focus cannot be seen where %s", condition)
			}
			return
		}
		b.press(kb.Tab)
	}
	b.t.Fatalf("the keyboard does not get to where %s", condition)
}

// Invariant 3.
func TestTheKeyboardFiltersAndSorts(t *testing.T) {
	g := NewWithT(t)
	_, b := shown(t)
	all := len(b.column(1))

	b.tabTo(`e.className === "skip"`)
	b.tabTo(`e.id === "search"`)
	b.press(heldBack)
	b.await(rows + ".length === 2")
	g.Expect(b.column(1)).To(Equal([]string{heldBack, heldBack}))
	g.Expect(eval[string](b, `document.getElementById("endpoints-count").innerText`)).To(Equal(fmt.Sprintf("2 of %d", all)))
	g.Expect(eval[string](b, `document.getElementById("history").innerText`)).NotTo(ContainSubstring(removed))
	b.press(strings.Repeat(kb.Backspace, len(heldBack)))
	b.await(fmt.Sprintf("%s.length === %d", rows, all))

	b.tabTo(`e.closest("#verdicts") && e.innerText.startsWith("in use")`)
	b.press(" ")
	b.await(`document.activeElement.getAttribute("aria-pressed") === "true"`)
	g.Expect(b.column(2)).To(HaveEach("in use"))
	b.press(kb.Enter)
	b.await(fmt.Sprintf("%s.length === %d", rows, all))

	const onAddress = `document.querySelector("th[data-key=address]").getAttribute("aria-sort")`
	b.tabTo(`e.closest("th")?.dataset.key === "address"`)
	b.press(kb.Enter)
	b.await(onAddress + ` === "ascending"`)
	up := b.column(1)
	g.Expect(up[0]).To(Equal("10.240.0.10"))
	g.Expect(up[all-1]).To(Equal(left), "not 10.240.2.9…, as texts are sorted")
	b.press(" ")
	b.await(onAddress + ` === "descending"`)
	down := b.column(1)
	for i := range up {
		g.Expect(down[all-1-i]).To(Equal(up[i]))
	}
	b.press(kb.Enter)
	b.await(onAddress + " === null")
	g.Expect(b.column(2)[0]).To(Equal("held"))

	b.tabTo(`e.getAttribute("aria-expanded") === "false"`)
	b.press(kb.Enter)
	b.await(`document.activeElement.getAttribute("aria-expanded") === "true"`)
	g.Expect(eval[string](b, `document.querySelector("tr.detail").innerText`)).To(
		And(ContainSubstring("Because"), ContainSubstring("What to do"), ContainSubstring("upgrade kube-proxy")))
	g.Expect(b.complained()).To(BeEmpty())
}

func TestWhatHappensIsShown(t *testing.T) {
	g := NewWithT(t)
	n, b := shown(t)
	b.tabTo(`e.getAttribute("aria-expanded") === "false"`)
	focused := eval[string](b, `document.activeElement.getAttribute("aria-label")`)

	n.Conflict("late-0", "10.240.0.77")
	n.Wait(5e9)
	n.pass()
	b.await(`document.getElementById("rows").innerText.includes("10.240.0.77")`)
	g.Expect(eval[string](b, `document.activeElement.getAttribute("aria-label")`)).To(Equal(focused), "the focus stays")

	n.HNS.Fail(hns.OpListEndpointIDs, hns.ErrUnavailable)
	n.Wait(5e9)
	n.pass()
	b.await(`document.getElementById("banner").innerText.includes("cannot be observed (unavailable)")`)
	g.Expect(eval[string](b, `document.getElementById("hns").innerText`)).To(ContainSubstring("failing"))
	g.Expect(len(b.column(1))).To(BeNumerically(">", 20), "unknown is not absent")
	n.HNS.Heal()
	n.pass()
	b.await(`document.getElementById("banner").innerText === ""`)
	g.Expect(b.complained()).To(BeEmpty())
}

func TestPodsWithoutNetworkComeFirst(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Pod("web-0", "10.240.0.15")
	n.pass()
	n.serve()
	b := open(t, n.url())
	b.await(`document.getElementById("connection").innerText.startsWith("Live")`)
	const section = `document.querySelector("main > section:not([hidden])").innerText`
	g.Expect(eval[string](b, section)).NotTo(ContainSubstring("pod without network"), "it may only be slow")

	n.Wait(n.Config.Eviction.After.Duration)
	n.pass()
	b.await(`!document.getElementById("findings").hidden`)
	g.Expect(eval[string](b, section)).To(And(HavePrefix("What is wrong\n1 pod without network · since "),
		ContainSubstring("default/web-0"), ContainSubstring("where mode and eviction.mode are enforce"),
		ContainSubstring("Delete it: its replacement gets one")))
	for _, dark := range []bool{false, true} {
		b.dark(dark)
		g.Expect(eval[[]string](b, unreadable)).To(BeEmpty())
	}
	b.tabTo(`e.closest("#findings") && e.innerText === "default/web-0"`)
	b.press(kb.Enter)
	b.await(`document.getElementById("search").value === "default/web-0"`)

	n.Local("10.240.0.15")
	n.Wait(5e9)
	n.pass()
	b.await(`document.getElementById("findings").hidden`)
	g.Expect(b.complained()).To(BeEmpty())
}

// Green would suggest protection.
func TestANodeThatOnlyObservesIsNotGreen(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(c *config.Config) { c.Mode = config.Observe })
	n.pass()
	n.serve()
	b := open(t, n.url())
	b.await(`document.getElementById("state").innerText === "only observing"`)
	g.Expect(eval[string](b, `document.getElementById("state").className`)).To(Equal("chip warn"))
	g.Expect(eval[[]string](b, unreadable)).To(BeEmpty())
}

func TestThePageSaysWhenItIsDisconnected(t *testing.T) {
	g := NewWithT(t)
	n, b := shown(t)
	n.silence()
	b.await(`document.getElementById("connection").innerText.startsWith("Disconnected")`)
	g.Expect(eval[string](b, `document.querySelector("[role=alert]").innerText`)).To(
		HavePrefix("The agent does not answer. What follows is as of"))
	g.Expect(b.column(1)).NotTo(BeEmpty())
	n.serve()
	b.await(`document.getElementById("connection").innerText.startsWith("Live")`)
	b.await(`document.getElementById("banner").innerText === ""`)
}

// unreadable lists the texts whose contrast is too low.
const unreadable = `(() => {
	const parse = (color) => color.match(/[\d.]+/g).map(Number);
	const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255)
		.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
		.reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = (e) => {
		for (; e; e = e.parentElement) {
			const color = parse(getComputedStyle(e).backgroundColor);
			if (color.length < 4 || color[3] > 0) return color;
		}
		return [255, 255, 255];
	};
	const bad = [];
	for (const e of document.querySelectorAll("body *")) {
		const text = [...e.childNodes].filter((c) => c.nodeType === 3).map((c) => c.data.trim()).join("");
		if (!text || !e.checkVisibility()) continue;
		const [a, b] = [luminance(parse(getComputedStyle(e).color)), luminance(behind(e))].sort((x, y) => y - x);
		const contrast = (a + 0.05) / (b + 0.05);
		if (contrast < 4.5) bad.push(e.tagName + " " + text.slice(0, 40) + " " + contrast.toFixed(2));
	}
	return bad;
})()`

// Invariant 2.
func TestLightAndDark(t *testing.T) {
	g := NewWithT(t)
	_, b := shown(t)
	b.tabTo(`e.getAttribute("aria-expanded") === "false"`)
	b.press(kb.Enter)
	b.await(`document.querySelector("tr.detail")`)
	backs := map[string]string{}
	for _, mode := range []string{"light", "dark"} {
		b.dark(mode == "dark")
		backs[mode] = eval[string](b, "getComputedStyle(document.body).backgroundColor")
		g.Expect(eval[[]string](b, unreadable)).To(BeEmpty(), mode)
	}
	g.Expect(backs["light"]).NotTo(Equal(backs["dark"]))
	eval[any](b, `document.querySelector("h1").style.color = "#333"; 0`)
	g.Expect(eval[[]string](b, unreadable)).To(ContainElement(HavePrefix("SPAN win-1")), "what is unreadable is found")
	g.Expect(b.complained()).To(BeEmpty())
}

// The pictures of the documentation show what needs attention, one finding in full, and the history.
func TestScreenshots(t *testing.T) {
	g := NewWithT(t)
	folder := os.Getenv("HNSGUARD_SCREENSHOTS")
	if folder == "" {
		folder = t.TempDir()
	}
	_, b := shown(t)
	for _, verdict := range []string{"held", "contested", "leaked local", "orphan pending"} {
		eval[any](b, fmt.Sprintf(`[...document.querySelectorAll("#verdicts button")]
			.find((e) => e.innerText.startsWith(%q)).click()`, verdict))
	}
	eval[any](b, `document.querySelector("[aria-expanded=false]").click()`)
	b.await(`document.querySelector("tr.detail") && ` + rows + `.length === 4`)
	for _, mode := range []string{"light", "dark"} {
		b.dark(mode == "dark")
		picture := smaller(t, call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{
			Clip: &page.Viewport{Width: 1360, Height: 1500, Scale: 1}, CaptureBeyondViewport: new(true),
		}).Data)
		g.Expect(len(picture)).To(And(BeNumerically(">", 20_000), BeNumerically("<", 150_000)), "it is in the repository")
		g.Expect(os.WriteFile(filepath.Join(folder, "node-page-"+mode+".png"), picture, 0o600)).To(Succeed())
	}
	sum, err := pictures.Sum("../..")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(os.WriteFile(filepath.Join(folder, pictures.SumFile), []byte(sum), 0o600)).To(Succeed())
}

// smaller compresses a picture better than the browser: it uses only the most frequent colours, with a higher weight
// for those that are not grey. The others come from smoothed edges.
func smaller(t *testing.T, picture []byte) []byte {
	t.Helper()
	pixels, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	bounds, uses := pixels.Bounds(), map[color.Color]int{}
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			uses[pixels.At(x, y)]++
		}
	}
	weight := func(c color.Color) int {
		r, g, b, _ := c.RGBA()
		return uses[c] * (1 + int(max(r, g, b)-min(r, g, b))>>8)
	}
	palette := slices.SortedFunc(maps.Keys(uses), func(a, b color.Color) int { return weight(b) - weight(a) })
	palette = palette[:min(len(palette), 256)]
	nearest := map[color.Color]uint8{}
	for c := range uses {
		nearest[c] = uint8(color.Palette(palette).Index(c))
	}
	reduced := image.NewPaletted(bounds, palette)
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			reduced.SetColorIndex(x, y, nearest[pixels.At(x, y)])
		}
	}
	var packed bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&packed, reduced); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// phone shows the page as on a phone, with the details of an endpoint.
func (b *browser) phone() {
	b.t.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: 390, Height: 844, DeviceScaleFactor: 1, Mobile: true,
	})
	eval[any](b, `document.querySelector("[aria-expanded=false]").click()`)
	b.await(`document.querySelector("tr.detail")`)
}

// cutOff lists the texts that begin or end outside of the screen, and the elements with horizontal scrolling.
const cutOff = `[...document.querySelectorAll("body *:not(.skip)")].filter((e) => {
	const text = [...e.childNodes].some((c) => c.nodeType === 3 && c.data.trim());
	const { left, right } = e.getBoundingClientRect();
	return e.checkVisibility() && (text && (left < 0 || right > innerWidth) || e.scrollWidth > e.clientWidth + 1 && e.clientWidth);
}).map((e) => e.tagName + " " + e.className + " " + e.textContent.slice(0, 40))`

// Invariant 4.
func TestNothingIsCutOffOnANarrowScreen(t *testing.T) {
	g := NewWithT(t)
	_, b := shown(t)
	b.phone()
	g.Expect(eval[[]string](b, cutOff)).To(BeEmpty())
	eval[any](b, `document.querySelector("tr.detail dd").style.whiteSpace = "nowrap"; 0`)
	g.Expect(eval[[]string](b, cutOff)).NotTo(BeEmpty(), "what is cut off is found")
}

func TestReferencesAreLinks(t *testing.T) {
	g := NewWithT(t)
	_, b := shown(t)
	const cure = "https://github.com/hnsguard/hnsguard/blob/main/docs/how-it-works.md#the-faults-of-kube-proxy"
	b.tabTo(fmt.Sprintf("e.href === %q", cure))
	g.Expect(eval[string](b, `document.activeElement.innerText`)).To(Equal(cure))
	g.Expect(eval[string](b, `document.getElementById("findings").innerText`)).To(ContainSubstring("stale record: " + cure))
}

// Invariant 3.
func TestWhatCanBeUsedHasAName(t *testing.T) {
	_, b := shown(t)
	tree := call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes
	found := map[string]int{}
	for _, e := range tree {
		if e.Ignored || e.Role == nil {
			continue
		}
		role := strings.Trim(string(e.Role.Value), `"`)
		switch role {
		case "button", "link", "searchbox", "combobox", "region", "columnheader", "group":
			found[role]++
			if e.Name == nil || strings.Trim(string(e.Name.Value), `" `) == "" {
				t.Errorf("a %s has no name: %s", role, e.NodeID)
			}
		}
	}
	for role, least := range map[string]int{"button": 40, "link": 3, "searchbox": 1, "combobox": 1, "columnheader": 7} {
		if found[role] < least {
			t.Errorf("there are %d elements with the role %s", found[role], role)
		}
	}
}
