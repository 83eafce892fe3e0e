// Says whether there is a GPU interface here.
console.log((await navigator.gpu?.requestAdapter()) ? "yes" : "no");
