package probe
import ("os";"encoding/binary")
func loadFeat() (Matrix, []int) {
	fl,err:=os.Open("/tmp/x/feat.bin"); if err!=nil {panic(err)}
	var h [2]int32; binary.Read(fl,binary.LittleEndian,&h); x:=Matrix{int(h[0]),int(h[1]),make([]float32,h[0]*h[1])}; binary.Read(fl,binary.LittleEndian,x.Data); yy:=make([]int32,h[0]); binary.Read(fl,binary.LittleEndian,yy)
	var y []int; for _,v:=range yy {y=append(y,int(v))}
	return x,y
}
