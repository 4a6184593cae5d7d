# Which genes R's edgeR keeps of the golden cases with counts divided by 8 (so that there is something to filter).
#   Rscript validation/make_golden_filter.R tests/data
# Made with edgeR 3.40.2, R 4.2.2. Columns: by the design, by the last factor as groups, without either, by the design
# with TMM-normalised library sizes, and by the groups with other thresholds (large.n below the group's size).
suppressMessages(library(edgeR))
root <- commandArgs(TRUE)[1]
read <- function(d, n) read.csv(file.path(root, d, n), row.names = 1, check.names = FALSE)
for (d in c("golden12", "golden8")) {
  Y <- as.matrix(read(d, "counts.csv.gz")) %/% 8L; obs <- read(d, "obs.csv")
  f <- if (d == "golden12") ~ batch + condition else ~ x + group
  group <- obs[[if (d == "golden12") "condition" else "group"]]; X <- model.matrix(f, obs)
  y <- DGEList(Y); tmm <- calcNormFactors(y)
  out <- data.frame(gene = rownames(Y), design = filterByExpr(y, design = X), group = filterByExpr(y, group = group),
    none = suppressMessages(filterByExpr(Y)), tmm = filterByExpr(tmm, design = X),
    other = filterByExpr(y, group = group, min.count = 3, min.total.count = 40, large.n = 2, min.prop = 0.6))
  con <- gzfile(file.path(root, d, "edgeR_filter.csv.gz"), "w"); write.csv(out, con, row.names = FALSE, quote = FALSE); close(con)
  print(colSums(out[-1]))
}
