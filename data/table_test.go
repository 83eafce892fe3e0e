package data

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"wgjepa/data/volume"
)

// labelsOf lists each sample's class by name, "-" without.
func labelsOf(d Dataset) map[string]string {
	m := map[string]string{}
	for i := range d.Len() {
		m[d.Name(i)] = "-"
		if k, ok := d.Label(i); ok {
			m[d.Name(i)] = d.Classes()[k]
		}
	}
	return m
}

func subjectsOf(d Dataset) map[string]string {
	m := map[string]string{}
	for i := range d.Len() {
		m[d.Name(i)] = d.Subject(i)
	}
	return m
}

// TestJoin: rows find samples by name, stem, path in front on either side, folder and
// BIDS subject; what means two things is not guessed.
func TestJoin(t *testing.T) {
	for _, c := range []struct {
		key, name string
		people    bool
		found     bool
	}{
		{"a", "a.nii.gz", false, true},
		{"a.nii", "a.nii.gz", false, true},
		{"a.nii.gz", "x/y/a.nii.gz", false, true},
		{"study/x/a.nii.gz", "x/a.nii", false, true},
		{`study\x\a.nii.gz`, "x/a.nii", false, true},
		{"./x/a.png", "x/a.png", false, true},
		{"y/a.nii.gz", "x/a.nii.gz", false, false},
		{"ba", "a.nii", false, false},
		{"P01", "P01/series-1234/1.nii", false, true},
		{"cohort/P01", "cohort/P01/t1.nii", false, true},
		{"sub-01", "sub-01_ses-2_T1w.nii.gz", true, true},
		{"01", "sub-01/anat/sub-01_T1w.nii.gz", true, true},
		{"sub-01", "sub-011_T1w.nii.gz", true, false},
		{"sub-01", "derivatives/sub-01.nii", true, true},
		{"train/007", "train/007", false, true},
		{"train/007", "val/007", false, false},
		{"brain.v2", "brain.v2.nii", false, true},
	} {
		n := newNames(c.people)
		require.Equal(t, -1, n.add(c.key, 0))
		want := -1
		if c.found {
			want = 0
		}
		assert.Equal(t, want, n.find(c.name), "%s for %s", c.key, c.name)
	}
	n := newNames(false)
	n.add("x/a.nii", 0)
	n.add("y/a.nii", 1)
	n.add("b.nii", 2)
	assert.Equal(t, 0, n.find("x/a.nii"))
	assert.Equal(t, 1, n.find("z/y/a.nii.gz"))
	assert.Equal(t, -2, n.find("a.nii"), "two rows mean it")
	assert.Equal(t, 2, n.add("b.nii", 3))
}

// TestBIDS: participants.tsv gives labels and subjects to all scans of a person.
func TestBIDS(t *testing.T) {
	files := map[string][]byte{"d/dataset_description.json": []byte("{}")}
	for s := range 12 {
		for ses := range 2 {
			files[fmt.Sprintf("d/sub-%02d/ses-%d/anat/sub-%02d_ses-%d_T1w.nii.gz", s, ses, s, ses)] = nii([3]int{2, 3, 2}, float32(2*s+ses))
		}
	}
	table := "participant_id\tage\tsex\tgroup\n"
	for s := range 11 {
		table += fmt.Sprintf("sub-%02d\t%d.5\t%c\t%s\n", s, 20+s, "MF"[s%2], []string{"control", "patient", "n/a"}[s%3])
	}
	files["d/participants.tsv"] = []byte(table + "sub-77\t1\tM\tcontrol\n")
	d, r, err := OpenFS(mem(files), []string{"d"}, Options{})
	require.NoError(t, err)
	assert.Equal(t, []string{"control", "patient"}, d.Classes())
	assert.Equal(t, []int{8, 8}, r.ClassCounts, "four people each, two scans")
	assert.Equal(t, 12, r.Subjects)
	assert.Contains(t, r.String(), "subjects: 12, by column participant_id of participants.tsv, sub-XX in the name")
	assert.Contains(t, r.String(), "labels: column group")
	assert.Contains(t, r.String(), "participants.tsv: 1 row names no image: sub-77; 2 images have no row: sub-11/ses-0/anat/sub-11_ses-0_T1w.nii.gz, sub-11/ses-1")
	for name, s := range subjectsOf(d) {
		assert.True(t, strings.HasPrefix(name, s+"/"), "%s: %s", name, s)
	}
	whole(t, d)

	d, r, err = OpenFS(mem(files), []string{"d"}, Options{LabelColumn: "Age"})
	require.NoError(t, err)
	assert.Empty(t, d.Classes())
	assert.Equal(t, 22, r.Targets)
	for i := range d.Len() {
		x, ok := d.Target(i)
		if !ok {
			assert.Contains(t, d.Name(i), "sub-11")
			continue
		}
		var s int
		fmt.Sscanf(d.Name(i), "sub-%d/", &s)
		assert.Equal(t, 20.5+float64(s), x)
		_, class := d.Label(i)
		assert.False(t, class)
	}
	assert.Contains(t, r.String(), "labels are taken as numbers")
	d, _, err = OpenFS(mem(files), []string{"d"}, Options{LabelColumn: "age", LabelKind: LabelClass})
	require.NoError(t, err)
	assert.Len(t, d.Classes(), 11)
	_, _, err = OpenFS(mem(files), []string{"d"}, Options{LabelKind: LabelNumber})
	assert.ErrorContains(t, err, `labels are to be numbers, but 16 are not`)
	assert.ErrorContains(t, err, `sub-00/ses-0/anat/sub-00_ses-0_T1w.nii.gz: "control"`)
	_, _, err = OpenFS(mem(files), []string{"d"}, Options{LabelColumn: "weight"})
	assert.ErrorContains(t, err, `there is no column "weight" (label_column); its columns are participant_id, age, sex, group`)

	// Where nothing of it fits, it is somebody else's; a table that is named must fit.
	files["d/participants.tsv"] = []byte("participant_id\tgroup\nx\ta\n")
	_, _, err = OpenFS(mem(files), []string{"d"}, Options{})
	require.NoError(t, err)
	_, _, err = OpenFS(mem(files), []string{"d"}, Options{Labels: "d/participants.tsv"})
	assert.ErrorContains(t, err, "participants.tsv: none of its 1 names (x) is that of one of the 24 images")

	// A table that is named, too, says that it holds no labels, or nothing.
	files["ages.csv"], files["head.csv"] = []byte("participant_id,age\nsub-00,20\n"), []byte("file,label\n")
	_, r, err = OpenFS(mem(files), []string{"d"}, Options{Labels: "ages.csv"})
	require.NoError(t, err)
	assert.Contains(t, r.String(), "ages.csv: no label: one of its columns participant_id, age can be chosen as label_column")
	_, _, err = OpenFS(mem(files), []string{"d"}, Options{Labels: "head.csv"})
	assert.ErrorContains(t, err, "head.csv: it has a head and no rows")
}

// whole: the parts of the split are all samples, and no subject lies in two.
func whole(t *testing.T, d Dataset) {
	t.Helper()
	var all []int
	in := map[string]string{}
	for _, part := range []string{"train", "val", "test"} {
		for _, i := range d.Split(part) {
			all = append(all, i)
			if old, ok := in[d.Subject(i)]; ok {
				require.Equal(t, old, part, "%s lies in two parts", d.Subject(i))
			}
			in[d.Subject(i)] = part
		}
	}
	slices.Sort(all)
	require.Len(t, all, d.Len())
	for i, v := range all {
		require.Equal(t, i, v)
	}
}

// TestNamedTable: a table anywhere, for all that is opened, with semicolons and Latin-1.
func TestNamedTable(t *testing.T) {
	files := map[string][]byte{"a/1.nii": nii([3]int{2, 2, 2}, 1), "b/2.nii": nii([3]int{2, 2, 2}, 2), "b/3.nii": nii([3]int{2, 2, 2}, 3),
		"a/labels.csv":   []byte("file,label\n1.nii,wrong\n"),
		"tables/all.csv": []byte("Patient;Datei;File;Diagnosis\r\np1;;1.nii;k\xf6rnig\r\np1;;2.nii;\r\n;;3;glatt\r\n3;;3;glatt\r\n")}
	_, _, err := OpenFS(mem(files), []string{"a", "b"}, Options{Labels: "tables/all.csv"})
	require.ErrorContains(t, err, `line 5 names 3 again and says otherwise ("glatt 3", before "glatt ")`)
	files["tables/all.csv"] = bytes.Replace(files["tables/all.csv"], []byte("\n3;;"), []byte("\n;;"), 1)
	d, r, err := OpenFS(mem(files), []string{"a", "b"}, Options{Labels: "tables/all.csv"})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"1.nii": "körnig", "2.nii": "-", "3.nii": "glatt"}, labelsOf(d))
	assert.Equal(t, map[string]string{"1.nii": "p1", "2.nii": "p1", "3.nii": "3.nii"}, subjectsOf(d))
	assert.Contains(t, r.String(), "1 samples are each taken as a subject of their own, since nothing says whose they are: 3.nii")
	assert.Contains(t, r.String(), "1 row is there twice: 3")
	_, _, err = OpenFS(mem(files), []string{"a"}, Options{Labels: "none.csv"})
	assert.ErrorContains(t, err, "none.csv")
	for text, want := range map[string]string{
		"\xff\xfef\x00":                "it is UTF-16: save it as CSV in UTF-8",
		"file,label\n\x00,1\n":         "it is no text",
		"file,label\n,1\n2,3\n":        "line 2 names no image",
		"file,subject\n1.nii,a\n,\n\n": "",
	} {
		files["t.csv"] = []byte(text)
		_, _, err := OpenFS(mem(files), []string{"a"}, Options{Labels: "t.csv"})
		if want == "" {
			assert.NoError(t, err, "%q", text)
		} else {
			assert.ErrorContains(t, err, want, "%q", text)
		}
	}
	// Labels of an array, overruled by a table.
	files["s.npz"] = npz(map[string][]byte{"train_images.npy": npy("|u1", "(3, 2, 2)", []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 0}), "train_labels.npy": npy("|u1", "(3, 1)", []byte{0, 1, 0})})
	files["t.csv"] = []byte("name,label,subject\ntrain/0,x,a\ntrain/1,y,a\ntrain/2,x,b\n")
	d, _, err = OpenFS(mem(files), []string{"s.npz"}, Options{Labels: "t.csv"})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"train/0": "x", "train/1": "y", "train/2": "x"}, labelsOf(d))
	assert.Equal(t, "a", d.Subject(1))
	d, _, err = OpenFS(mem(files), []string{"s.npz"}, Options{LabelKind: LabelNumber})
	require.NoError(t, err)
	x, ok := d.Target(1)
	assert.True(t, ok)
	assert.Equal(t, 1.0, x)
}

// TestHostileTable: a table costs bounded memory, however many columns it claims.
func TestHostileTable(t *testing.T) {
	files := map[string][]byte{"d/a.nii": nii([3]int{2, 2, 2}, 1)}
	for name, text := range map[string]string{
		"one wide row":           "file,label\na.nii," + strings.Repeat(",", 5<<20),
		"a wide head, many rows": "file,label" + strings.Repeat(",", 1<<20) + "\n" + strings.Repeat("b\n", 1<<20),
		"long fields":            "file,label\na.nii," + strings.Repeat("x", 2<<20),
	} {
		files["d/labels.csv"] = []byte(text)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := OpenFS(mem(files), []string{"d"}, Options{})
		runtime.ReadMemStats(&after)
		if name == "one wide row" {
			assert.ErrorContains(t, err, "a table of more than 4194304 fields")
		}
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(512<<20), name)
	}
}

// TestSubjects: where subjects come from, and what cannot be found.
func TestSubjects(t *testing.T) {
	files := map[string][]byte{}
	for i := range 6 {
		files[fmt.Sprintf("d/P%d/sub-%d_x.nii", i/3, i/2)] = nii([3]int{2, 2, 2}, float32(i))
	}
	open := func(s SubjectSource) (Dataset, *Report, error) {
		return OpenFS(mem(files), []string{"d"}, Options{Subjects: s})
	}
	d, _, err := open(SubjectFolder)
	require.NoError(t, err)
	assert.Equal(t, "P0", d.Subject(0))
	whole(t, d)
	d, _, err = open(SubjectBIDS)
	require.NoError(t, err)
	assert.Equal(t, "sub-0", d.Subject(0))
	d, _, err = open(SubjectNone)
	require.NoError(t, err)
	assert.Equal(t, d.Name(0), d.Subject(0))
	_, _, err = open(SubjectTable)
	assert.ErrorContains(t, err, "no table says whose the samples are")
	_, _, err = OpenFS(mem(map[string][]byte{"a.nii": nii([3]int{2, 2, 2}, 1)}), []string{"a.nii"}, Options{Subjects: SubjectBIDS})
	assert.ErrorContains(t, err, "no name has a part sub-XX (a.nii)")

	items := make([]item, 5)
	for i, p := range []uint64{7, 8, 7, 0, 8} {
		items[i] = item{name: fmt.Sprint("s", i), header: volume.Header{Patient: p}}
	}
	c := newCollection(nil, Options{})
	c.items = items
	require.NoError(t, c.findSubjects())
	got := []string{}
	for _, it := range c.items {
		got = append(got, it.subject)
	}
	assert.Equal(t, []string{"s0", "s1", "s0", "s3", "s1"}, got)
	c = newCollection(nil, Options{})
	c.items = slices.Clone(items[:3])
	for i := range c.items {
		c.items[i].subject, c.items[i].header.Patient = "", 9
	}
	require.NoError(t, c.findSubjects())
	assert.Equal(t, "s2", c.items[2].subject)
	assert.Contains(t, c.report.Notes[0], "same patient's ID, as after anonymisation: each sample")

	// Scans of one study are of one person even so.
	c = newCollection(nil, Options{})
	c.items = slices.Clone(items)
	for i, study := range []uint64{3, 4, 3, 4, 0} {
		c.items[i].subject, c.items[i].header.Patient, c.items[i].header.Study = "", 9, study
	}
	require.NoError(t, c.findSubjects())
	got = got[:0]
	for _, it := range c.items {
		got = append(got, it.subject)
	}
	assert.Equal(t, []string{"s0", "s1", "s0", "s1", "s4"}, got)
	assert.Contains(t, strings.Join(c.report.Notes, "; "), "as after anonymisation: each study")
	assert.Equal(t, "studies of the DICOM files", c.report.SubjectsBy)
}

// TestSplitGroups: subjects stay whole and parts have their share of the classes, for any
// seed, as nearly as whole subjects allow.
func TestSplitGroups(t *testing.T) {
	var items []item
	for s := range 60 {
		for k := range 1 + s%4 {
			items = append(items, item{name: fmt.Sprintf("%d/%d", s, k), subject: fmt.Sprint("p", s), class: s / 4 % 5 / 4}) // one in five people is of class 1
		}
	}
	count := func(list []int) (classes [2]int) {
		for _, i := range list {
			classes[items[i].class]++
		}
		return classes
	}
	different := map[string]bool{}
	for seed := range uint64(20) {
		s := split(items, SplitPlan{Val: 0.2, Test: 0.3, Seed: seed})
		in := map[string]string{}
		n := 0
		for part, list := range s {
			n += len(list)
			for _, i := range list {
				if old, ok := in[items[i].subject]; ok {
					require.Equal(t, old, part)
				}
				in[items[i].subject] = part
			}
		}
		require.Equal(t, len(items), n)
		assert.InDelta(t, 0.3*150, len(s["test"]), 4)
		assert.InDelta(t, 0.2*150, len(s["val"]), 4)
		assert.InDelta(t, 0.3*30, count(s["test"])[1], 2, "seed %d: a fifth of the samples is of class 1", seed)
		assert.InDelta(t, 0.2*30, count(s["val"])[1], 2, "seed %d", seed)
		different[fmt.Sprint(s["test"])] = true
		assert.Equal(t, s, split(items, SplitPlan{Val: 0.2, Test: 0.3, Seed: seed}))
	}
	assert.Len(t, different, 20)
	// By order, the last people.
	o := split(items, SplitPlan{Val: 10, Test: 20, ByOrder: true})
	assert.Equal(t, "p59", items[o["test"][len(o["test"])-1]].subject)
	assert.Equal(t, items[o["test"][0]].subject, items[o["val"][len(o["val"])-1]+1].subject)
	assert.NotEqual(t, items[o["test"][0]].subject, items[o["test"][0]-1].subject)
	// One person is one part.
	one := split([]item{{name: "a", subject: "p"}, {name: "b", subject: "p"}}, DefaultSplit)
	assert.Equal(t, []int{0, 1}, one["train"])
}

func TestApportion(t *testing.T) {
	assert.Equal(t, []int{3, 5, 2}, apportion(10, []int{30, 50, 20}))
	assert.Equal(t, []int{1, 1, 0}, apportion(2, []int{5, 5, 4}))
	assert.Equal(t, []int{0, 0}, apportion(5, []int{0, 0}))
	assert.Equal(t, []int{4}, apportion(4, []int{4}))
}

// TestWriteSplits: what is written is read back, the seed no longer matters, and a file
// that divides a person is refused.
func TestWriteSplits(t *testing.T) {
	files := map[string][]byte{}
	table := "file,label,subject\n"
	for i := range 24 {
		files[fmt.Sprintf("d/%02d.nii", i)] = nii([3]int{2, 3, 2}, float32(i))
		table += fmt.Sprintf("%02d,%c,p%d\n", i, "ab"[i/2%2], i/2)
	}
	files["d/labels.csv"] = []byte(table)
	d, _, err := OpenFS(mem(files), []string{"d"}, Options{})
	require.NoError(t, err)
	whole(t, d)
	var b bytes.Buffer
	require.NoError(t, WriteSplits(&b, d))
	assert.True(t, strings.HasPrefix(b.String(), "name,subject,class,split\n00.nii,p0,a,"), b.String())
	files["splits.csv"] = b.Bytes()
	back, _, err := OpenFS(mem(files), []string{"d"}, Options{Splits: "splits.csv", Split: &SplitPlan{Seed: 99, Test: 0.5}})
	require.NoError(t, err)
	for _, part := range []string{"train", "val", "test"} {
		assert.Equal(t, d.Split(part), back.Split(part))
	}
	open := func(text string) (Dataset, *Report, error) {
		files["splits.csv"] = []byte(text)
		return OpenFS(mem(files), []string{"d"}, Options{Splits: "splits.csv"})
	}
	d, r, err := open("file\tsplit\n00\tTrain\n01\ttraining\n02\tvalid\n03\tval\n04\ttest\n05\ttest\n06\tnone\n99\ttest\n")
	require.NoError(t, err)
	assert.Equal(t, [][]int{{0, 1}, {2, 3}, {4, 5}}, [][]int{d.Split("train"), d.Split("val"), d.Split("test")})
	assert.Contains(t, r.String(), "17 samples are not in it and take no part: 07.nii")
	assert.Contains(t, r.String(), "splits.csv: 1 rows name no sample: 99")
	for text, want := range map[string]string{
		"file,split\n00,train\n01,test\n":           "1 subjects lie in several parts",
		"file,split\n00,train\n00,test\n":           `line 3 puts 00 into "test", before "train"`,
		"file,split\n00,training set\n":             `line 2: "training set" is not train, val, test or none`,
		"file,part\nxx,train\n":                     "none of its 1 names is that of one of the 24 samples",
		"file,fold\n00,1\n":                         "must name the columns name and split; it has file, fold",
		"file,split\n00,none\n01,none\n02,\n03,\n ": "",
	} {
		d, _, err := open(text)
		if want != "" {
			assert.ErrorContains(t, err, want, text)
		} else if assert.NoError(t, err) {
			assert.Empty(t, d.Split("train"))
		}
	}
}

// TestCopies: samples of the same content are named, whatever their files are called, and
// it is said when training and test share them; empty images are no copies.
func TestCopies(t *testing.T) {
	a, zero := nii([3]int{2, 3, 2}, 1), labelMap([3]int{2, 3, 2}, func(int) uint8 { return 0 })
	files := map[string][]byte{"d/a.nii": a, "d/b.nii": nii([3]int{2, 3, 2}, 2), "d/z/a2.nii": a, "d/e.nii": zero, "d/f.nii": zero}
	files["s.csv"] = []byte("name,split\na.nii,train\nb.nii,train\nz/a2.nii,test\n")
	_, r, err := OpenFS(mem(files), []string{"d"}, Options{Splits: "s.csv"})
	require.NoError(t, err)
	assert.Equal(t, [][2]string{{"z/a2.nii", "a.nii"}}, r.Copies)
	assert.Contains(t, r.String(), "1 samples hold the same as another: z/a2.nii = a.nii")
	assert.Contains(t, r.String(), "1 of them lie in another part of the split")
}
