package userdata

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// runBash runs the script with bash, Target being a file in a new folder, and answers what that holds afterwards.
func runBash(t interface{ Fatalf(string, ...any) }, dir, script string) string {
	file := filepath.Join(dir, "ecs.config")
	if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
		t.Fatalf("%v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, "bash", "--norc", "-c", strings.ReplaceAll(script, Target, file))
	c.Dir = dir
	c.Env = []string{"PATH=/usr/bin:/bin"}
	out, err := c.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("bash: %v\n%s\n%s", err, script, out)
	}
	text, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatalf("%v", err)
	}
	return string(text)
}

// What we read in a script is what bash writes when it runs it.
func TestBash(t *testing.T) {
	file := regexp.MustCompile(`\bT\b`)
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash here")
	}
	dir := t.TempDir()
	for i, script := range []string{
		`echo ECS_CLUSTER=a >> T`,
		`echo "ECS_CLUSTER=a b" 'c  d' >> T`,
		`echo ECS_X=["json-file","awslogs"] >> T`,
		`echo 'ECS_X=["json-file","awslogs"]' >> T`,
		`echo ECS_X=[\"json-file\",\"awslogs\"] >> T`,
		`echo "ECS_X=[\"json-file\"]" >> T`,
		`echo ECS_X={"a":"b"} >> T`,
		`echo ECS_X={"a":"b","c":"d"} >> T`,
		`echo 'ECS_X={"a":"b","c":"d"}' >> T`,
		`echo -e "A=1\nB=2\tx" >> T; echo -n C=3 >> T; echo D >> T; echo -ne 'E=\x41\0101\n' >> T`,
		`printf 'A=%s\n' 1 2 3 >> T; printf '%s=%s\n' A 1 B 2 >> T; printf 'X=%d%%\n' 5 >> T; printf "no newline" >> T`,
		"cat >> T <<EOF\nA=1\nB=$'x'\nC=\\$x\nEOF\necho D=1 >> T",
		"cat <<'EOF' > T\nA=$x `y` \\z\nEOF",
		"cat <<-EOF >> T\n\t\tA=1\n\tB=2\n\tEOF\n",
		"X=blue\nY=\"$X-green\"\ncat <<EOF >> T\nECS_CLUSTER=$X\nB=${Y}\nC=${Z:-dflt}\nD=${X%ue}\nE=${#X}\nEOF",
		`echo A=1 | tee T; echo B=2 | tee -a T > /dev/null`,
		`{ echo A=1; echo B=2; } >> T; ( echo C=3; echo D=4 ) >> T`,
		`X=1; (X=2; echo A=$X >> T); echo B=$X >> T`,
		`for i in 1 2 3; do echo A$i=$i; done >> T`,
		`for i in a "b c"; do echo "$i=1" >> T; done`,
		`f() { echo "$1=$2" >> T; }; f A 1; f B "2 3"; f C`,
		`f() { local x=$1; echo "$x $# $@" >> T; }; f A 1 2`,
		`echo A=1 > T; echo B=2 > T; echo C=3 >> T`,
		`true && echo A=1 >> T; false || echo B=2 >> T; false && echo C=3 >> T; true || echo D=4 >> T; ! false && echo E=5 >> T`,
		`if true; then echo A=1 >> T; else echo B=2 >> T; fi; if false; then echo C=3; elif true; then echo D=4; fi >> T`,
		`E=prod; if [ "$E" = prod ]; then C=p; elif [ "$E" = dev ]; then C=d; else C=x; fi; echo A=$C >> T`,
		`E=prod; [[ $E == dev ]] && echo A=1 >> T; [[ -n $E && ! ( $E != prod ) ]] && echo B=2 >> T; [ -z "$E" ] || echo C=3 >> T; test ! "$E" || echo D=4 >> T`,
		`E=b; case $E in a) echo A=1;; b|c) echo B=2;; *) echo C=3;; esac >> T; case "x y" in "x y") echo D=4 >> T; esac; case $E in z) echo E=5 >> T;; esac`,
		`exec 3>&1; exec >> T; echo A=1; echo B=2 >&2; echo C=3`,
		`echo A=1 >&2 >> T; echo B=2 2>/dev/null >> T; echo C=3 >> T 2>&1`,
		`bash -c 'echo A=1 >> T'; sh -c "echo B=2 >> T"; eval 'echo C=3 >> T'; eval echo D=4 '>>' T`,
		"bash <<'EOF'\necho A=1 >> T\nEOF",
		`X=$(echo blue); echo A=$X >> T; echo "B=$(printf '%s' "x y")" >> T; echo C=$(echo a   b) >> T`,
		`A=(x y "z w"); echo "L=${A[0]} ${#A[@]}" >> T; echo "M=${A[*]}" >> T`,
		`X=a; X+=b; export Y=c Z="d e"; echo A=$X$Y$Z >> T; unset X; echo B=${X-unset} >> T`,
		`echo A=1 >> T; exit 0; echo B=2 >> T`,
		`echo "A=1
B=2" >> T`,
		`echo A=a\ b\\c\"d >> T; echo B='a'"b"c >> T; echo C=$'a\tb' >> T`,
		`echo A=x~ >> T # comment`,
		`echo "# a comment" >> T; echo >> T; echo '' >> T`,
		`cat > T <<< "A=1"`,
		`echo A=$((1+2*3)) >> T; N=4; echo B=$((N*2)) >> T`,
		`rm -f T; echo A=1 >> T; rm -f T; echo B=2 >> T`,
		`: > T; echo A=1 >>T`,
		`echo A=1 | cat >> T; echo B=2 | cat | cat >> T`,
		`X="a  b"; echo $X >> T; echo "$X" >> T`,
		`echo a{b,c}d A={1..3} >> T`,
		`command echo A=1 >> T; builtin echo B=2 >> T; /bin/echo C=3 >> T`,
		`X=1 Y=2; X=3 true; echo $X >> T`,
		`echo A=1 >> T &
wait`,
		`mkdir -p /tmp && echo A=1 >> T`,
		`echo A=1 \
  >> T`,
		`FILE=T; echo A=1 >> $FILE; echo B=2 >> "${FILE}"`,
		`DIR=$(dirname T 2>/dev/null); true; echo A=1 >> T`,
		`while false; do echo A=1 >> T; done; echo B=2 >> T`,
		`case x in x) : ;; esac; echo A=1 >> T`,
		`echo A=1 >| T`,
		`echo A=1 &>> T`,
		`echo "ECS_A=\$HOME \` + "`x\\`" + `" >> T`,
		`echo -E 'a\nb' >> T; echo -- x >> T; echo -x y >> T; echo - >> T`,
		`printf '%b\n' 'a\tb' >> T; printf -- '%s\n' x >> T; printf '%5s|%-5s|\n' a b >> T`,
		`printf '%s\n' 'ECS_CLUSTER=a' 'ECS_X=["y"]' | sudo_none=1 tee -a T >/dev/null`,
		"cat <<EOF >> T\nA=1\nB=2\n",
		"echo A=1 >> T\ncat <<'EOF' >> T\nB=$x\n EOF2\nC=3",
		"f() { cat >> T <<-EOF\n\tA=$1\n\tEOF\n}\nf x\nf y\n",
		"cat <<A >> T; cat <<B >> T\n1=1\nA\n2=2\nB\n",
		`tee -a T <<< "A=1" >/dev/null; tee T >/dev/null <<EOF
B=2
EOF`,
		"cat > x <<EOF\nA=1\nB=2\nEOF\ncp x T; echo C=3 >> x; cat x >> T; mv -f x T; echo D=4 >> T",
		"echo A=1 > x; echo B=2 > y; cat x y > T; cat y x | tee -a T >/dev/null; cat < x >> T; install -m 644 y T",
		"echo A=1 > x; cp x y; rm x; echo B=2 >> y; cat y > T; > y; cat y >> T; echo end >> T",
		"cat > x.sh <<'EOF'\n#!/bin/bash\necho A=1 >> T\necho B=$((1+1)) >> T\nEOF\nbash x.sh; chmod +x x.sh; ./x.sh",
		`export X=1; Y=2; Y=3 bash -c 'echo A=$X$Y >> T'; X=4; sh -c 'echo B=$X >> T'; export Z; Z=5`,
		`set -euo pipefail; X=; echo "A=${X:-none}" >> T; : "${Y:=dflt}"; echo B=$Y >> T`,
		`readonly C=blue; declare -r D=x; echo "$C-$D" >> T; local_var=1 && echo $local_var >> T`,
		`[[ a == a ]] && echo A=1 >> /dev/null; echo B=2 >> T`,
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			script = file.ReplaceAllString(script, Target)
			want := runBash(t, dir, script)
			d := Read("script", []byte("#!/bin/bash\n"+script))
			got := config(d.Lines)
			if !strings.HasSuffix(want, "\n") && want != "" {
				want += "\n"
			}
			if got != want {
				t.Errorf("%s\ngot  %q\nwant %q\n%s", script, got, want, findings(d))
			}
		})
	}
}

// scripts draws scripts of what is followed.
func scripts(t *rapid.T) string {
	var b strings.Builder
	atom := rapid.SampledFrom([]string{"a", "ECS_X=", "[", "]", ",", `\"`, `\\`, `\ `, "{", "}", ":", "'x y'", `'"'`, `"y z"`, `"\""`, `"$V"`, "$V", "${V}", "${W:-d}", `"${V%b}"`,
		"=", "#", "~", "json-file", `"a,b"`, "é", `$'\t'`, "$(echo s)", `"$(echo s t)"`, "{a,b}", "1", "*x*", `"\$V"`, `"\\"`, "“", "!", "%", "^"})
	word := func() string {
		return strings.Join(rapid.SliceOfN(atom, 1, 6).Draw(t, "word"), "")
	}
	to := func() string {
		return rapid.SampledFrom([]string{">> " + Target, "> " + Target, ">>" + Target, "| tee -a " + Target, "| cat >> " + Target}).Draw(t, "to")
	}
	b.WriteString("V='a  b'\n")
	for range rapid.IntRange(1, 6).Draw(t, "lines") {
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0, 1, 2, 3:
			fmt.Fprintf(&b, "echo %s %s\n", word(), to())
		case 4:
			fmt.Fprintf(&b, "echo -e %s %s %s\n", word(), word(), to())
		case 5:
			fmt.Fprintf(&b, "printf '%%s\\n' %s %s %s\n", word(), word(), to())
		case 6:
			quote := rapid.SampledFrom([]string{"", "'", "-"}).Draw(t, "quote")
			begin, end := "<<EOF", "EOF"
			switch quote {
			case "'":
				begin = "<<'EOF'"
			case "-":
				begin = "<<-EOF"
			}
			fmt.Fprintf(&b, "cat >> %s %s\n", Target, begin)
			for range rapid.IntRange(0, 3).Draw(t, "body") {
				fmt.Fprintf(&b, "%s%s\n", rapid.SampledFrom([]string{"", "\t", "  "}).Draw(t, "lead"), strings.ReplaceAll(word(), "\n", ""))
			}
			b.WriteString(end + "\n")
		case 7:
			fmt.Fprintf(&b, "{ echo %s; echo %s; } %s\n", word(), word(), to())
		case 8:
			fmt.Fprintf(&b, "V=%s\n", word())
		case 9:
			fmt.Fprintf(&b, "for i in %s; do echo $i \"$i\" %s; done\n", word(), to())
		}
	}
	return b.String()
}

// The same for scripts that nobody thought of.
func TestBashProperty(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash here")
	}
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		script := scripts(t)
		// Only what bash itself finds no fault in: faults are repaired, not followed.
		check := exec.Command("bash", "-n")
		check.Stdin = strings.NewReader(script)
		if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
			t.Skip("no script")
		}
		want := runBash(t, dir, script)
		d := Read("script", []byte("#!/bin/bash\n"+script))
		if strings.Contains(findings(d), "known only when") || strings.Contains(findings(d), "syntax error") {
			t.Skip("left to the script")
		}
		if got := config(d.Lines); strings.TrimSuffix(got, "\n") != strings.TrimSuffix(want, "\n") {
			t.Fatalf("%s\ngot  %q\nwant %q\n%s", script, got, want, findings(d))
		}
	})
}
