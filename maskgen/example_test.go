package maskgen_test

import (
	"bytes"
	"fmt"
	"log"

	"wgjepa/maskgen"
)

// The masks of two samples on a grid of 10×10 patches: what the context encoder
// sees is drawn as a dot, the target blocks as their numbers.
func Example() {
	sampler, err := maskgen.New(maskgen.Default(10, 10))
	if err != nil {
		log.Fatal(err)
	}
	var m maskgen.Masks
	if err := sampler.Sample(&m, 1, 0, 2); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("B %d, K %d, M %d, L %d\n", m.B, m.K, m.M, m.L)
	for b := range m.B {
		picture := bytes.Repeat([]byte(" "), 10*10)
		for _, p := range m.Context[b*m.K:][:m.K] {
			picture[p] = '.'
		}
		for i := range m.M {
			for _, p := range m.Target[(i*m.B+b)*m.L:][:m.L] {
				picture[p] = '0' + byte(i)
			}
		}
		for row := range 10 {
			fmt.Printf("|%s|\n", picture[10*row:][:10])
		}
		fmt.Println()
	}
	// Output:
	// B 2, K 35, M 4, L 20
	// |          |
	// |3333000...|
	// |3333000...|
	// |3333000...|
	// |3333220...|
	// |3333220...|
	// |112222....|
	// |112222....|
	// |112222....|
	// | .... ....|
	//
	// |......3333|
	// |......3333|
	// |......3333|
	// |......3333|
	// |.222203333|
	// |.222201111|
	// |.222201111|
	// |.22220... |
	// |.22220... |
	// |          |
}

// A configuration that the reference would loop on for ever.
func ExampleConfig_Validate() {
	fmt.Println(maskgen.Default(3, 3, 3).Validate())
	// Output:
	// maskgen: the target block can be 1×2×2 = 4 patches, and a mask keeps more than min_keep = 4: lower min_keep to 3, raise target_block_scale (0.15, 0.2) or use smaller patches (the grid is 3×3×3)
}
